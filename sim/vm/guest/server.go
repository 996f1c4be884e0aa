//go:build linux

// Package guest is the inner end of the virtual board: it runs the commands that
// the host sends. cmd/hybrid-sim-guest makes an init of it.
package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// Server runs commands for one host.
type Server struct {
	// Mount prepares what the host's greeting asks for.
	Mount func(wire.Greeting) error
	// Flush writes out what is not yet on the host; it is called before the end.
	Flush func()

	w      *wire.Writer
	reaper *Reaper

	mu       sync.Mutex
	commands map[uint32]*command
}

// Serve speaks with the host on conn until it hangs up, which is no error. Commands
// that still run are killed then.
func (s *Server) Serve(conn io.ReadWriter, reaper *Reaper) error {
	s.w, s.reaper, s.commands = wire.NewWriter(conn), reaper, map[uint32]*command{}
	defer s.killAll()
	if err := s.w.Send(wire.Boot, 0, nil); err != nil {
		return err
	}
	for {
		f, err := wire.Read(conn)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.handle(f); err != nil {
			return err
		}
	}
}

func (s *Server) handle(f wire.Frame) error {
	switch f.Type {
	case wire.Hello:
		var g wire.Greeting
		if err := f.Decode(&g); err != nil {
			return err
		}
		if err := s.Mount(g); err != nil {
			return s.w.Send(wire.Fail, 0, wire.Failure{Code: 125, Reason: err.Error()})
		}
		return s.w.Send(wire.Ready, 0, nil)
	case wire.Quit:
		s.Flush()
		return s.w.Send(wire.Ready, 0, nil)
	case wire.Start:
		var c wire.Command
		if err := f.Decode(&c); err != nil {
			return err
		}
		if failure := s.start(f.ID, c); failure != nil {
			return s.w.Send(wire.Fail, f.ID, failure)
		}
		return nil
	}
	// frames of a command that has ended meanwhile are not an error
	s.mu.Lock()
	c := s.commands[f.ID]
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.handle(f)
}

// start starts a command and what follows it.
func (s *Server) start(id uint32, req wire.Command) *wire.Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.commands[id] != nil {
		return &wire.Failure{Code: 125, Reason: fmt.Sprintf("command %d runs already", id)}
	}
	c, err := newCommand(id, req, s.w)
	if err == nil {
		err = c.start(req, s.reaper)
	}
	if err != nil {
		return failure(req, err)
	}
	s.commands[id] = c
	go func() {
		status := c.wait()
		s.mu.Lock()
		delete(s.commands, id)
		s.mu.Unlock()
		_ = s.w.Send(wire.Exit, id, status) // if it fails, so does Serve
	}()
	return nil
}

func (s *Server) killAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		_ = unix.Kill(-c.pid, unix.SIGKILL)
	}
}

// failure explains why a command was not started, as shells do.
func failure(req wire.Command, err error) *wire.Failure {
	name := ""
	if len(req.Args) > 0 {
		name = req.Args[0]
	}
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, unix.ENOENT):
		return &wire.Failure{Code: 127, Reason: fmt.Sprintf("%s: %v", name, err)}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENOTDIR):
		return &wire.Failure{Code: 126, Reason: fmt.Sprintf("%s: %v", name, err)}
	}
	return &wire.Failure{Code: 125, Reason: fmt.Sprintf("%s: %v", name, err)}
}

var errNotFound = errors.New("command not found")

// find looks a command up, in the PATH of its own environment. Relative names with
// a slash are relative to dir.
func find(name string, env []string, dir string) (string, error) {
	if name == "" {
		return "", errNotFound
	}
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	var denied error
	for _, d := range filepath.SplitList(path) {
		candidate := filepath.Join(d, name)
		switch err := executable(candidate); {
		case err == nil:
			return candidate, nil
		case errors.Is(err, unix.EACCES):
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", errNotFound
}

func executable(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return errors.Unwrap(err)
	}
	if info.IsDir() {
		return unix.EISDIR
	}
	return unix.Access(name, unix.X_OK)
}

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
	c := &command{id: id, w: w, outputs: map[wire.Type]*os.File{}, inbox: wire.NewInbox(),
		outbox: map[wire.Type]*wire.Outbox{}, exited: make(chan struct{})}
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
			MaxRSS: int64(usage.Maxrss) << 10,
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
