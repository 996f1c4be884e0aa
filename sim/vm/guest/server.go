//go:build linux

// Package guest is the inner end of the virtual board: it runs the commands that
// the host sends. cmd/hybrid-sim-guest makes an init of it.
package guest

import (
	"errors"
	"fmt"
	"io"
	"sync"

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
		if errors.Is(err, io.EOF) {
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
