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
// less and less. debugfs cannot be waited for.
const (
	minLook = 20 * time.Millisecond
	maxLook = 500 * time.Millisecond
)

// console copies the firmware's output to the container's standard output and to
// its log. It runs by itself, as an engine that does not read must not keep the
// monitor from seeing a crash.
type console struct {
	processor *remoteproc.Processor
	log       *logFile
	traces    []*trace
	writes    sync.Mutex // of the log: the monitor speaks too
	flushes   chan chan struct{}
	stop      chan struct{}
}

func newConsole(p *remoteproc.Processor, dir string) *console {
	return &console{processor: p, log: &logFile{dir: dir, now: time.Now}, flushes: make(chan chan struct{}), stop: make(chan struct{})}
}

// run follows the trace buffers until close.
func (c *console) run() {
	look := minLook
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if c.copy() {
				look = minLook
			} else {
				look = min(2*look, maxLook)
			}
			timer.Reset(look)
		case done := <-c.flushes:
			c.copy()
			close(done)
		case <-c.stop:
			return
		}
	}
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

// copy copies what is new, and reports whether there was something.
func (c *console) copy() bool {
	if c.traces == nil {
		c.open()
	}
	any := false
	for _, t := range c.traces {
		text, err := t.next()
		if err == nil && len(text) > 0 {
			any = true
			c.keep(Stdout, text)         // first: standard output may have nobody who reads it
			_, _ = os.Stdout.Write(text) // an engine that went away keeps no firmware from running
		}
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

// say adds a line of the monitor itself, to standard error and the log. It waits at
// most maxWait for who reads it.
func (c *console) say(line string) {
	text := []byte("hybrid: " + line + "\n")
	c.keep(Stderr, text)
	done := make(chan struct{})
	go func() {
		_, _ = os.Stderr.Write(text)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(maxWait):
	}
}

// keep adds to the log.
func (c *console) keep(stream string, text []byte) {
	c.writes.Lock()
	defer c.writes.Unlock()
	c.log.write(stream, text)
}
