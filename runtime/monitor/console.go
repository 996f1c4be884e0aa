package monitor

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// maxTraces is how many trace buffers of a firmware are followed.
const maxTraces = 8

// Times between two looks at the trace buffers: often while there is output, then
// less and less, and in the end only when somebody asks. debugfs cannot be waited for.
const (
	minLook = 20 * time.Millisecond
	maxLook = 500 * time.Millisecond
)

// console copies the firmware's output to the container's standard output and to
// its log, and the standard input to the firmware's terminal. It runs by itself, as
// an engine that does not read must not keep the monitor from seeing a crash.
type console struct {
	host      remoteproc.Host
	processor *remoteproc.Processor
	log       *logFile
	traces    []*trace
	terminals *terminals // nil if the firmware offers none
	flushes   chan chan struct{}
	looks     chan struct{}
	stop      chan struct{}
	unread    bool // nobody reads standard error

	writes  sync.Mutex // of the log, and of what follows
	last    time.Time  // when there was output last
	waiting int        // how many wait for who reads the standard output
}

func newConsole(c Config, p *remoteproc.Processor) *console {
	n := &console{
		host: remoteproc.Host{Root: c.Sysroot}, processor: p, log: &logFile{dir: c.Dir, now: time.Now},
		flushes: make(chan chan struct{}), looks: make(chan struct{}, 1), stop: make(chan struct{}), last: time.Now(),
	}
	if c.RPMsg {
		n.terminals = newTerminals(n.host, p, n.emit)
	}
	return n
}

// run follows the firmware's output until close.
func (c *console) run() {
	look := minLook
	c.writes.Lock()
	c.last = time.Now() // it was started now
	c.writes.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	again := func(found bool) {
		if found {
			look = minLook
		}
		if look <= maxLook {
			timer.Reset(look)
			look *= 2
		}
	}
	for {
		select {
		case <-timer.C:
			again(c.copy())
		case <-c.looks:
			if c.copy() {
				again(true)
			}
		case done := <-c.flushes:
			c.copy()
			if c.terminals != nil {
				c.terminals.close()
			}
			close(done)
		case <-c.stop:
			return
		}
	}
}

// look makes run look for output, which it does not do by itself if there was none
// for a while.
func (c *console) look() {
	select {
	case c.looks <- struct{}{}:
	default: // it is about to
	}
}

// silence is how long there was no output. While somebody does not read what there was
// nobody looks for more, and it is none of the firmware's.
func (c *console) silence() time.Duration {
	c.writes.Lock()
	defer c.writes.Unlock()
	if c.waiting > 0 {
		return 0
	}
	return time.Since(c.last)
}

// maxWait is how long the monitor waits for an engine that does not read.
const maxWait = time.Second

// flush copies what is there, and waits for it at most maxWait.
func (c *console) flush() {
	done := make(chan struct{})
	timeout := time.After(maxWait)
	select {
	case c.flushes <- done:
	case <-timeout:
		return
	}
	select {
	case <-done:
	case <-timeout:
	}
}

func (c *console) close() { close(c.stop) }

// copy copies what is new in the trace buffers, and reports whether there was
// something.
func (c *console) copy() bool {
	if c.traces == nil {
		c.open()
	}
	any := false
	for _, t := range c.traces {
		text, err := t.next()
		if err == nil && len(text) > 0 {
			any = true
			c.emit(text)
		}
	}
	if c.terminals != nil {
		any = c.terminals.look() || any
	}
	return any
}

// open opens the trace buffers, which exist since the firmware was started.
func (c *console) open() {
	for n := range maxTraces {
		f, err := c.processor.Trace(n)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err == nil {
			c.traces = append(c.traces, &trace{file: f})
		}
	}
}

// emit passes output of the firmware on.
func (c *console) emit(text []byte) {
	c.keep(Stdout, text) // first: standard output may have nobody who reads it
	c.wait(1)
	_, _ = os.Stdout.Write(text) // an engine that went away keeps no firmware from running
	c.wait(-1)
}

// wait notes that a write to standard output has begun, or has ended.
func (c *console) wait(n int) {
	c.writes.Lock()
	defer c.writes.Unlock()
	c.waiting += n
	c.last = time.Now()
}

// say adds a line of the monitor itself, to standard error and the log. It waits at
// most maxWait for who reads it, and then no more: the core that crashed is stopped
// only after what there is to say of it.
func (c *console) say(line string) {
	text := []byte("hybrid: " + line + "\n")
	c.keep(Stderr, text)
	if c.unread {
		return
	}
	done := make(chan struct{})
	go func() {
		_, _ = os.Stderr.Write(text)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(maxWait):
		c.unread = true
	}
}

// keep adds to the log.
func (c *console) keep(stream string, text []byte) {
	c.writes.Lock()
	defer c.writes.Unlock()
	c.log.write(stream, text)
	if stream == Stdout {
		c.last = time.Now()
	}
}
