package runtime

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/monitor"
)

// LogOptions says what Logs writes.
type LogOptions struct {
	Follow     bool // until the container stops, or is deleted
	Tail       int  // lines at most of what is there already; negative is all
	Timestamps bool // before each line, RFC 3339 with nanoseconds
}

// followInterval is how often a log is looked at that is followed.
const followInterval = 100 * time.Millisecond

// Logs writes what is kept of the container's output: what the firmware wrote to
// stdout, and what the monitor had to say to stderr. The latest 256 KiB at least
// are kept.
func (r *Runtime) Logs(ctx context.Context, id string, o LogOptions, stdout, stderr io.Writer) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	name := filepath.Join(c.dir, monitor.ConsoleLog)
	current, err := open(name) // first: it becomes the old one at any moment
	if err != nil {
		return err
	}
	defer func() { current.Close() }()
	entries, err := oldEntries(filepath.Join(c.dir, monitor.ConsoleOldLog), current)
	if err != nil {
		return err
	}
	newest, err := read(current)
	if err != nil {
		return err
	}
	p := &printer{timestamps: o.Timestamps, stdout: stream{w: stdout}, stderr: stream{w: stderr}}
	if err := p.print(tail(append(entries, newest...), o.Tail)); err != nil || !o.Follow {
		return err
	}
	for last := false; !last; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followInterval):
		}
		last = !c.Monitor.Alive() // what it wrote before it ended is there
		for turned := true; turned; {
			// looked at before it is read: nothing is added to it once it has turned
			turned = current == nil || same(current, name) != nil
			b, err := read(current)
			if err == nil {
				err = p.print(b)
			}
			if err != nil {
				return err
			}
			if turned {
				current.Close()
				if current, err = open(name); err != nil {
					return err
				}
				turned = current != nil
			}
		}
	}
	return nil
}

// open opens a log for reading; nil is one that is not there.
func open(name string) (*os.File, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

func read(f *os.File) ([]byte, error) {
	if f == nil {
		return nil, nil
	}
	return io.ReadAll(f)
}

// oldEntries is what was written before current, which may have become the old
// log itself since it was opened.
func oldEntries(name string, current *os.File) ([]byte, error) {
	f, err := open(name)
	if err != nil || f == nil || (current != nil && same(current, name) == nil) {
		f.Close()
		return nil, err
	}
	defer f.Close()
	return read(f)
}

// entry is a line of a log file: see monitor.ConsoleLog.
type entry struct {
	stamp, stream, text []byte
	full                bool
}

// cut takes the first entry off b; false if there is no whole one.
func cut(b []byte) (e entry, rest []byte, found bool) {
	line, rest, found := bytes.Cut(b, []byte("\n"))
	if !found {
		return entry{}, b, false
	}
	var tag []byte
	e.stamp, line, _ = bytes.Cut(line, []byte(" "))
	e.stream, line, _ = bytes.Cut(line, []byte(" "))
	tag, e.text, _ = bytes.Cut(line, []byte(" "))
	e.full = string(tag) == monitor.Full
	return e, rest, true
}

// tail is the last entries that make so many lines; all of them if lines is negative.
func tail(entries []byte, lines int) []byte {
	if lines < 0 {
		return entries
	}
	var ends []int // where lines end
	at := 0
	for rest := entries; ; {
		e, next, found := cut(rest)
		if !found {
			break
		}
		at += len(rest) - len(next)
		rest = next
		if e.full || len(rest) == 0 {
			ends = append(ends, at)
		}
	}
	switch {
	case len(ends) <= lines:
		return entries
	default:
		return entries[ends[len(ends)-lines-1]:]
	}
}

// printer puts entries together again.
type printer struct {
	timestamps     bool
	stdout, stderr stream
	rest           []byte // of an entry that is not written whole yet
}

// stream is where one stream of the container goes.
type stream struct {
	w      io.Writer
	inLine bool // the next entry goes on with a line
	out    []byte
}

func (p *printer) print(entries []byte) error {
	p.rest = append(p.rest, entries...)
	for {
		e, rest, found := cut(p.rest)
		if !found {
			break
		}
		p.rest = rest
		s, other := &p.stdout, &p.stderr
		if string(e.stream) == monitor.Stderr {
			s, other = other, s
		}
		if err := other.flush(); err != nil { // in the order in which they came
			return err
		}
		if p.timestamps && !s.inLine {
			s.out = append(append(s.out, e.stamp...), ' ')
		}
		s.out = append(s.out, e.text...)
		if e.full {
			s.out = append(s.out, '\n')
		}
		s.inLine = !e.full
	}
	return errors.Join(p.stdout.flush(), p.stderr.flush())
}

func (s *stream) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.w.Write(s.out)
	s.out = s.out[:0]
	return err
}
