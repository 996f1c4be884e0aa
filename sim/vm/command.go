package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// Cmd is a command on the board. Like an exec.Cmd it is set up, run once, and then
// looked at.
type Cmd struct {
	Args []string // the first is looked up in PATH
	Env  []string // KEY=VALUE, in addition to BaseEnv; the last of a key counts
	Dir  string   // on the board; empty: /
	// Stdin, if not nil, is read until the command has ended; a Read that blocks
	// then is left behind.
	Stdin io.Reader
	// Stdout and Stderr get the output, if not nil, one Write at a time even if they
	// are the same.
	Stdout, Stderr io.Writer
	// Terminal, if not nil, runs the command on a terminal of that size: all its
	// output is Stdout then.
	Terminal *wire.Size

	vm     *VM
	ctx    context.Context
	id     uint32
	usage  Usage
	inbox  map[wire.Type]*wire.Inbox
	outbox *wire.Outbox
	copies sync.WaitGroup
	write  sync.Mutex // Stdout and Stderr
	lost   error      // output that they refused

	end   sync.Once
	ended chan struct{}
	err   error // once ended
}

// BaseEnv is the environment of all commands.
var BaseEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root"}

// Usage is what a command used.
type Usage struct {
	Wall, User, System time.Duration
	MaxRSS             int64 // bytes
}

// ExitError reports a command that ran and did not succeed.
type ExitError struct {
	Code   int            // -1 if it was ended by a signal
	Signal syscall.Signal // 0 if it exited by itself
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return "ended by signal: " + e.Signal.String()
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// StartError reports a command that could not be started.
type StartError struct {
	Code   int // 127: not found, 126: cannot be executed, 125: anything else
	Reason string
}

func (e *StartError) Error() string { return e.Reason }

// Command prepares a command. When ctx ends it is killed, with all processes of its
// process group.
func (v *VM) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Args: append([]string{name}, args...), vm: v, ctx: ctx}
}

// Run runs the command until its end. It returns nil if that was exit code 0, else
// an *ExitError, a *StartError, the cause of the context, or why the board is lost.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns its standard output.
func (c *Cmd) Output() ([]byte, error) {
	var b bytes.Buffer
	c.Stdout = &b
	err := c.Run()
	return b.Bytes(), err
}

// Start sends the command to the board. Wait must follow, which also tells whether
// it could be started.
func (c *Cmd) Start() error {
	if c.ended != nil {
		return errors.New("command was started already")
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	c.ended = make(chan struct{})
	c.outbox = wire.NewOutbox()
	c.inbox = map[wire.Type]*wire.Inbox{wire.Stdout: wire.NewInbox(), wire.Stderr: wire.NewInbox()}
	s := c.vm.session
	if err := s.add(c); err != nil {
		return err
	}
	for stream, w := range map[wire.Type]io.Writer{wire.Stdout: c.Stdout, wire.Stderr: c.Stderr} {
		c.copies.Go(func() { c.receive(stream, w) })
	}
	env := append(append([]string{}, BaseEnv...), c.Env...)
	err := s.w.Send(wire.Start, c.id, wire.Command{Args: c.Args, Env: lastOfEach(env), Dir: c.Dir, Terminal: c.Terminal})
	if err == nil {
		go c.sendInput()
		return nil
	}
	// the connection broke: say why rather than how
	s.hangUp(err)
	return c.Wait()
}

// Wait waits for the end of a started command and returns as Run.
func (c *Cmd) Wait() error {
	s := c.vm.session
	select {
	case <-c.ended:
	case <-c.ctx.Done():
		_ = c.signal(-int(syscall.SIGKILL))
		select {
		case <-c.ended:
		case <-time.After(2 * time.Second): // the board hangs
		}
		c.finish(nil)
		c.err = context.Cause(c.ctx) // also if it has ended meanwhile: killed is killed
	}
	s.remove(c)
	c.copies.Wait()
	if c.err == nil {
		return c.lost
	}
	return c.err
}

// Usage is what the command used, after its end.
func (c *Cmd) Usage() Usage { return c.usage }

// Signal sends a signal to the command, not to its children. One that has ended
// does not mind.
func (c *Cmd) Signal(sig syscall.Signal) error { return c.signal(int(sig)) }

func (c *Cmd) signal(n int) error { return c.vm.session.w.Send(wire.Signal, c.id, n) }

// Resize tells the command the new size of its terminal.
func (c *Cmd) Resize(size wire.Size) error { return c.vm.session.w.Send(wire.Resize, c.id, size) }

// handle takes a frame; it must not wait.
func (c *Cmd) handle(f wire.Frame) {
	var err error
	switch f.Type {
	case wire.Stdout, wire.Stderr:
		c.inbox[f.Type].Put(f.Payload)
	case wire.Credit:
		var g wire.Grant
		if err = f.Decode(&g); err == nil {
			c.outbox.Grant(g.Bytes)
		}
	case wire.Exit:
		var status wire.Status
		if err = f.Decode(&status); err != nil {
			break
		}
		c.usage = Usage{Wall: status.Wall, User: status.User, System: status.System, MaxRSS: status.MaxRSS}
		if status.Code != 0 || status.Signal != 0 {
			c.finish(&ExitError{Code: status.Code, Signal: syscall.Signal(status.Signal)})
		} else {
			c.finish(nil)
		}
	case wire.Fail:
		var failure wire.Failure
		if err = f.Decode(&failure); err == nil {
			c.finish(&StartError{Code: failure.Code, Reason: failure.Reason})
		}
	}
	if err != nil {
		c.finish(err)
	}
}

// finish marks the end. The first counts.
func (c *Cmd) finish(err error) {
	c.end.Do(func() {
		c.err = err
		c.outbox.Close()
		for _, i := range c.inbox {
			i.Close()
		}
		close(c.ended)
	})
}

// receive passes output on.
func (c *Cmd) receive(stream wire.Type, w io.Writer) {
	if w != nil {
		w = &lockedWriter{&c.write, w}
	}
	err := c.inbox[stream].Copy(w, func(n int) {
		_ = c.vm.session.w.Send(wire.Credit, c.id, wire.Grant{Stream: stream, Bytes: n})
	})
	if err != nil {
		c.write.Lock()
		defer c.write.Unlock()
		c.lost = errors.Join(c.lost, fmt.Errorf("output of the command: %w", err))
	}
}

// sendInput passes input on until it ends or the command does.
func (c *Cmd) sendInput() {
	w := c.vm.session.w
	if c.Stdin != nil {
		buffer := make([]byte, 32<<10)
		for {
			n, err := c.Stdin.Read(buffer)
			for sent := 0; sent < n; {
				room := c.outbox.Reserve(n - sent)
				if room == 0 || w.Write(wire.Stdin, c.id, buffer[sent:sent+room]) != nil {
					return
				}
				sent += room
			}
			if err != nil {
				break
			}
		}
	}
	_ = w.Write(wire.Stdin, c.id, nil)
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// lastOfEach keeps the last value of each key.
func lastOfEach(env []string) []string {
	at := map[string]int{}
	var out []string
	for _, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		if i, ok := at[key]; ok {
			out[i] = kv
			continue
		}
		at[key] = len(out)
		out = append(out, kv)
	}
	return out
}
