package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/monitor"
)

// Start boots the firmware of a created container and returns when the kernel says
// that it runs. If it does not boot the error has the kernel's reason, and the
// container is stopped.
func (r *Runtime) Start(id string) error {
	c, err := r.read(id)
	if err != nil {
		return err
	}
	if c.Hooks != nil && len(c.Hooks.StartContainer) > 0 {
		lock, err := c.lockStart()
		if err != nil {
			return fmt.Errorf("cannot start container %s: %w", id, err)
		}
		defer lock.Close()
		if r.derive(c); c.status != specs.StateCreated {
			return fmt.Errorf("cannot start container %s: it is %s", id, c.status)
		}
		if err := c.runHooks(context.Background(), hookStartContainer, c.Hooks.StartContainer); err != nil {
			return fmt.Errorf("cannot start container %s: %w", id, errors.Join(err, r.kill(c)))
		}
	}
	conn, err := monitor.Dial(c.dir)
	if err != nil {
		if r.derive(c); c.status != specs.StateCreated {
			return fmt.Errorf("cannot start container %s: it is %s", id, c.status)
		}
		return fmt.Errorf("cannot start container %s: its monitor does not answer: %w", id, err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, monitor.StartRequest); err != nil {
		return fmt.Errorf("cannot start container %s: %w", id, err)
	}
	answer, err := io.ReadAll(conn)
	switch {
	case string(answer) == monitor.StartDone:
		return r.started(c)
	case len(answer) > 0:
		return fmt.Errorf("cannot start container %s: %s", id, strings.TrimSpace(string(answer)))
	case err != nil:
		return fmt.Errorf("cannot start container %s: %w", id, err)
	}
	// stopped meanwhile, or started by somebody else
	return fmt.Errorf("cannot start container %s: its monitor ended before the processor was started", id)
}

// lockStart lets one command at a time run the hooks of a start: they run once, and the
// failure of another one's must not stop what was started. It is not the lock of the
// folder, as a hook that hangs must not keep delete waiting.
func (c *container) lockStart() (*os.File, error) {
	f, err := os.Open(filepath.Join(c.dir, recordFile))
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another command is starting it")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// started runs the hooks of a container whose firmware runs, and tells who waits for it.
func (r *Runtime) started(c *container) error {
	if c.Hooks != nil && len(c.Hooks.Poststart) > 0 {
		r.derive(c)
		if err := c.runHooks(context.Background(), hookPoststart, c.Hooks.Poststart); err != nil {
			return fmt.Errorf("container %s was stopped: %w", c.ID, errors.Join(err, r.kill(c)))
		}
	}
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		if err := notify(socket, c.Monitor.PID); err != nil {
			r.warn(err)
		}
	}
	return nil
}
