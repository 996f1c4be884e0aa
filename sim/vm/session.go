package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// session is the connection to the guest's init.
type session struct {
	conn    *os.File
	w       *wire.Writer
	control chan wire.Frame // Boot, Ready and Fail of the session itself
	gone    chan struct{}   // closed when the connection is

	mu       sync.Mutex
	cause    error // why it is gone
	next     uint32
	commands map[uint32]*Cmd
}

func newSession(conn *os.File) *session {
	return &session{
		conn: conn, w: wire.NewWriter(conn), control: make(chan wire.Frame, 1),
		gone: make(chan struct{}), next: 1, commands: map[uint32]*Cmd{},
	}
}

// serve hands out frames until the connection ends.
func (s *session) serve() {
	for {
		f, err := wire.Read(s.conn)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("Linux has hung up")
			}
			s.hangUp(fmt.Errorf("connection to the virtual board: %w", err))
			return
		}
		if f.ID == 0 {
			select {
			case s.control <- f:
			default: // nobody asked
			}
			continue
		}
		s.mu.Lock()
		c := s.commands[f.ID]
		s.mu.Unlock()
		if c != nil {
			c.handle(f)
		}
	}
}

// hangUp ends the session, and all commands with it. The first cause counts.
func (s *session) hangUp(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return
	}
	s.cause = cause
	close(s.gone)
	for _, c := range s.commands {
		c.finish(cause)
	}
	s.conn.Close()
}

func (s *session) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// open waits for the guest to be there and tells it what it must know.
func (s *session) open(ctx context.Context, shares []Share) error {
	if err := s.await(ctx, wire.Boot); err != nil {
		return err
	}
	if err := s.w.Send(wire.Hello, 0, greeting(shares)); err != nil {
		return err
	}
	return s.await(ctx, wire.Ready)
}

// quit asks the guest to write out everything.
func (s *session) quit(ctx context.Context) error {
	if err := s.w.Send(wire.Quit, 0, nil); err != nil {
		return err
	}
	return s.await(ctx, wire.Ready)
}

// await waits for a frame of the session itself.
func (s *session) await(ctx context.Context, want wire.Type) error {
	select {
	case f := <-s.control:
		if f.Type == wire.Fail {
			var failure wire.Failure
			if err := f.Decode(&failure); err != nil {
				return err
			}
			return errors.New(failure.Reason)
		}
		if f.Type != want {
			return fmt.Errorf("%w: type %d instead of %d", wire.ErrFrame, f.Type, want)
		}
		return nil
	case <-s.gone:
		return s.err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// add gives a command an identifier.
func (s *session) add(c *Cmd) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	c.id = s.next
	s.next++
	s.commands[c.id] = c
	return nil
}

func (s *session) remove(c *Cmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.commands, c.id)
}
