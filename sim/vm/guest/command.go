//go:build linux

package guest

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// Limits on what is still read of a command's output after it has exited. What it
// wrote itself is in the pipe then; more comes from processes that it left behind.
const (
	grace    = 100 * time.Millisecond
	pipeSize = 64 << 10
)

// command is one that runs.
type command struct {
	id  uint32
	w   *wire.Writer
	pid int

	child    []*os.File // standard input, output and error of the child
	stdin    *os.File   // our ends
	outputs  map[wire.Type]*os.File
	terminal *os.File // our end, or nil

	inbox  *wire.Inbox
	outbox map[wire.Type]*wire.Outbox
	exited chan struct{}
	status wire.Status
}

func newCommand(id uint32, req wire.Command, w *wire.Writer) (*command, error) {
	c := &command{
		id: id, w: w, outputs: map[wire.Type]*os.File{}, inbox: wire.NewInbox(),
		outbox: map[wire.Type]*wire.Outbox{}, exited: make(chan struct{}),
	}
	if req.Terminal != nil {
		master, slave, err := openTerminal(*req.Terminal)
		if err != nil {
			return nil, err
		}
		c.child = []*os.File{slave, slave, slave}
		c.terminal, c.stdin = master, master
		c.output(wire.Stdout, master)
		return c, nil
	}
	for _, stream := range []wire.Type{wire.Stdin, wire.Stdout, wire.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			c.close()
			return nil, err
		}
		if stream == wire.Stdin {
			c.child, c.stdin = append(c.child, r), w
		} else {
			c.child = append(c.child, w)
			c.output(stream, r)
		}
	}
	return c, nil
}

func (c *command) output(stream wire.Type, r *os.File) {
	c.outputs[stream], c.outbox[stream] = r, wire.NewOutbox()
}

// close closes everything, for a command that did not start.
func (c *command) close() {
	for _, f := range c.child {
		f.Close()
	}
	if c.stdin != nil {
		c.stdin.Close()
	}
	for _, f := range c.outputs {
		f.Close()
	}
}

func (c *command) start(req wire.Command, reaper *Reaper) error {
	if len(req.Args) == 0 {
		c.close()
		return errNotFound
	}
	dir := req.Dir
	if dir == "" {
		dir = "/"
	}
	path, err := find(req.Args[0], req.Env, dir)
	if err != nil {
		c.close()
		return err
	}
	attr := &syscall.ProcAttr{Dir: dir, Env: req.Env, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: c.terminal != nil}}
	for _, f := range c.child {
		attr.Files = append(attr.Files, f.Fd())
	}
	begin := time.Now()
	pid, err := reaper.Start(path, req.Args, attr, func(ws syscall.WaitStatus, usage *syscall.Rusage) {
		c.status = wire.Status{
			Code: ws.ExitStatus(), Wall: time.Since(begin),
			User:   time.Duration(usage.Utime.Nano()),
			System: time.Duration(usage.Stime.Nano()),
			MaxRSS: int64(usage.Maxrss) << 10, //nolint:unconvert // int32 on 32-bit systems
		}
		if ws.Signaled() {
			c.status.Signal = int(ws.Signal())
		}
		close(c.exited)
	})
	if err != nil {
		c.close()
		return err
	}
	c.pid = pid
	for _, f := range c.child {
		f.Close() // more than once for a terminal, which does no harm
	}
	return nil
}

// wait moves the command's streams until it has exited and its output is sent.
func (c *command) wait() wire.Status {
	var copying sync.WaitGroup
	for stream, r := range c.outputs {
		copying.Go(func() { c.send(stream, r) })
	}
	go func() {
		// the end of the input is the end of a pipe, but not of a terminal
		_ = c.inbox.Copy(c.stdin, func(n int) {
			_ = c.w.Send(wire.Credit, c.id, wire.Grant{Stream: wire.Stdin, Bytes: n})
		})
		if c.terminal == nil {
			c.stdin.Close()
		}
	}()
	<-c.exited
	for _, r := range c.outputs {
		_ = r.SetReadDeadline(time.Now().Add(grace))
	}
	copying.Wait()
	c.inbox.Close()
	if c.terminal == nil {
		// nobody reads it, or somebody whom the host does not know
		c.stdin.Close()
	}
	return c.status
}

// send sends an output to the host: all of it until the command exits, and then
// what is there. A process left behind may go on writing, to nobody.
func (c *command) send(stream wire.Type, r *os.File) {
	buffer := make([]byte, 32<<10)
	left := pipeSize
	for left > 0 {
		room := c.outbox[stream].Reserve(len(buffer))
		late := false
		select {
		case <-c.exited:
			late = true
			_ = r.SetReadDeadline(time.Now().Add(grace)) // anew: waiting for room took its time
		default:
		}
		n, err := r.Read(buffer[:room])
		c.outbox[stream].Grant(room - n)
		if n > 0 && c.w.Write(stream, c.id, buffer[:n]) != nil {
			break
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			r.Close()
			return
		}
		if late {
			left -= n
		}
	}
	_ = r.SetReadDeadline(time.Time{})
	go func() {
		defer r.Close()
		_, _ = io.Copy(io.Discard, r)
	}()
}

func (c *command) handle(f wire.Frame) error {
	switch f.Type {
	case wire.Stdin:
		if len(f.Payload) == 0 {
			c.inbox.Close()
		} else {
			c.inbox.Put(f.Payload)
		}
	case wire.Signal:
		var signal int
		if err := f.Decode(&signal); err != nil {
			return err
		}
		select {
		case <-c.exited: // the pid may be somebody else's by now
		default:
			if signal < 0 {
				_ = unix.Kill(-c.pid, unix.Signal(-signal))
			} else {
				_ = unix.Kill(c.pid, unix.Signal(signal))
			}
		}
	case wire.Resize:
		var size wire.Size
		if err := f.Decode(&size); err != nil {
			return err
		}
		if c.terminal != nil {
			_ = resize(c.terminal, size)
		}
	case wire.Credit:
		var g wire.Grant
		if err := f.Decode(&g); err != nil {
			return err
		}
		if o := c.outbox[g.Stream]; o != nil {
			o.Grant(g.Bytes)
		}
	}
	return nil
}
