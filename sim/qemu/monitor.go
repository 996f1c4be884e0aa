package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Monitor speaks QMP, QEMU's machine protocol: docs/interop/qmp-spec.rst.
type Monitor struct {
	w       io.Writer
	command sync.Mutex // one command at a time
	replies chan message
	lost    chan struct{} // closed when the connection is

	mu     sync.Mutex
	waiter map[string]chan struct{} // by event
}

type message struct {
	Greeting json.RawMessage `json:"QMP"`
	Event    string          `json:"event"`
	Return   json.RawMessage `json:"return"`
	Error    *CommandError   `json:"error"`
}

// CommandError is QEMU's refusal of a command.
type CommandError struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Reason  string `json:"desc"`
}

func (e *CommandError) Error() string { return fmt.Sprintf("qemu: %s: %s", e.Command, e.Reason) }

// newMonitor waits for QEMU's greeting on conn and enters command mode. It reads
// until conn is closed, and ctx must end then.
func newMonitor(ctx context.Context, conn io.ReadWriter) (*Monitor, error) {
	m := &Monitor{w: conn, replies: make(chan message), lost: make(chan struct{}), waiter: map[string]chan struct{}{}}
	go m.read(ctx, conn)
	select {
	case <-m.replies: // the greeting
	case <-m.lost:
		return nil, fmt.Errorf("%w before its monitor answered", ErrEnded)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	_, err := m.Execute(ctx, "qmp_capabilities", nil)
	return m, err
}

func (m *Monitor) read(ctx context.Context, r io.Reader) {
	defer close(m.lost)
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var msg message
		if json.Unmarshal(line, &msg) != nil {
			continue // a line of text is not for us
		}
		if msg.Event == "" {
			select {
			case m.replies <- msg:
				continue
			case <-ctx.Done():
				return
			}
		}
		m.mu.Lock()
		if c := m.waiter[msg.Event]; c != nil {
			close(c)
			delete(m.waiter, msg.Event)
		}
		m.mu.Unlock()
	}
}

// Execute runs a command and returns what it returns. An error of QEMU's is a
// *CommandError.
func (m *Monitor) Execute(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	m.command.Lock()
	defer m.command.Unlock()
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return nil, err
	}
	if _, err := m.w.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("qemu: %s: %w", command, err)
	}
	select {
	case reply := <-m.replies:
		if reply.Error != nil {
			reply.Error.Command = command
			return nil, reply.Error
		}
		return reply.Return, nil
	case <-m.lost:
		return nil, fmt.Errorf("%s: %w", command, ErrEnded)
	case <-ctx.Done():
		// the reply may still come, and would be taken for the next one's
		go func() {
			select {
			case <-m.replies:
			case <-m.lost:
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// ExecuteUntil runs a command without arguments and waits for the event which says
// that it has taken effect.
func (m *Monitor) ExecuteUntil(ctx context.Context, event, command string) error {
	happened := make(chan struct{})
	m.mu.Lock()
	m.waiter[event] = happened
	m.mu.Unlock()
	if _, err := m.Execute(ctx, command, nil); err != nil {
		return err
	}
	select {
	case <-happened:
		return nil
	case <-m.lost:
		return fmt.Errorf("%s: %w", command, ErrEnded)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
