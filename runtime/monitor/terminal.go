package monitor

import (
	"io"
	"os"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// maxTerminals is how many terminals of a firmware are followed.
const maxTerminals = 8

// terminals are the rpmsg terminals of a firmware. What it writes to any of them is
// output; the first gets the container's standard input.
type terminals struct {
	host      remoteproc.Host
	processor *remoteproc.Processor
	emit      func([]byte)
	open      map[string]*terminal
}

// terminal is one of them.
type terminal struct {
	file *os.File
	done chan struct{} // closed when all of its output was passed on
}

func newTerminals(host remoteproc.Host, p *remoteproc.Processor, emit func([]byte)) *terminals {
	return &terminals{host: host, processor: p, emit: emit, open: map[string]*terminal{}}
}

// look opens the terminals that have come since the look before, and reports whether
// there were any. The kernel tells of them by uevents only, which a container with a
// network namespace of its own does not get.
func (t *terminals) look() bool {
	found := false
	for _, name := range t.host.TTYs(t.processor) {
		if t.open[name] != nil || len(t.open) >= maxTerminals {
			continue
		}
		f, err := t.host.OpenTTY(name)
		if err != nil {
			continue // its device is not there yet, or not any more
		}
		found = true
		n := &terminal{f, make(chan struct{})}
		t.open[name] = n
		go n.read(t.emit)
		if len(t.open) == 1 {
			go feed(os.Stdin, f)
		}
	}
	return found
}

// read passes on what the firmware writes, until the terminal is gone.
func (n *terminal) read(emit func([]byte)) {
	defer close(n.done)
	buf := make([]byte, 4096)
	for {
		c, err := n.file.Read(buf)
		if c > 0 {
			emit(buf[:c])
		}
		if err != nil {
			return
		}
	}
}

// feed copies standard input to a terminal, until one of the two ends.
func feed(in io.Reader, tty io.Writer) { _, _ = io.Copy(tty, in) }

// close passes on what is there, and closes the terminals.
func (t *terminals) close() {
	for _, n := range t.open {
		_ = n.file.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		select {
		case <-n.done:
		case <-time.After(maxWait):
		}
		n.file.Close()
	}
}
