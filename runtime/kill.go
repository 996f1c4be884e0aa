package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/monitor"
	"github.com/hybrid-containers/hybrid/runtime/process"
)

const (
	// killTimeout is how long a monitor may take to end by itself: a driver's stop,
	// and an engine that does not read the last output.
	killTimeout = 3 * time.Second
	// deathTimeout is how long a monitor that was killed, or is about to end, may
	// take. Only a driver that hangs in the kernel keeps it.
	deathTimeout = 10 * time.Second
)

// Kill sends a signal to a container, and does not wait for what it does, as
// kill(2) does not. SIGTERM, SIGINT and SIGQUIT stop the processor, and the
// container exits with 0; SIGKILL stops it too, and the container exits with 137;
// others change nothing, as firmware knows no signals. Of a container that State calls
// stopped the error wraps ErrNotRunning; a monitor that should have ended by then is
// sent SIGKILL all the same.
func (r *Runtime) Kill(id string, signal unix.Signal) error {
	c, err := r.read(id)
	if err != nil {
		return err
	}
	h, err := c.Monitor.Open()
	if errors.Is(err, process.ErrGone) {
		// it was stopped, perhaps because its monitor was killed
		if err := r.reclaim(c); err != nil {
			return err
		}
		return fmt.Errorf("cannot signal container %s: %w", id, ErrNotRunning)
	}
	if err != nil {
		return err
	}
	defer h.Close()
	if r.derive(c); c.status == specs.StateStopped {
		if signal == unix.SIGKILL {
			if err := ask(h); err != nil && !errors.Is(err, process.ErrGone) {
				return err
			}
		}
		return fmt.Errorf("cannot signal container %s: %w", id, ErrNotRunning)
	}
	switch signal {
	case unix.SIGKILL, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
	default:
		return nil // not for the monitor, which SIGSTOP would freeze and SIGABRT kill
	}
	_ = os.WriteFile(filepath.Join(c.dir, stopFile), nil, 0o600) // a full disk must not keep a core running
	if signal == unix.SIGKILL {
		err = ask(h)
	} else {
		err = h.Signal(signal)
	}
	if errors.Is(err, process.ErrGone) {
		return fmt.Errorf("cannot signal container %s: %w", id, ErrNotRunning)
	}
	return err
}

// reclaim undoes what the monitor of a container has left, which has ended.
func (r *Runtime) reclaim(c *container) error {
	err := r.claims().Reclaim(c.Processor, r.holder(c.ID))
	if busy := (*claim.BusyError)(nil); errors.As(err, &busy) {
		return &unseenError{c}
	}
	return err
}

// ask asks the monitor to do what SIGKILL does to other processes.
func ask(h *process.Handle) error {
	err := h.Signal(monitor.KillSignal)
	if err == nil {
		err = h.Signal(unix.SIGCONT) // somebody may have frozen it
	}
	return err
}

// kill ends the container now. The monitor is asked to do it, so that no moment is
// left in which the processor runs and nobody watches, and so that it gets done even
// if we are killed meanwhile. One that does not is killed, and whatever it was in
// the middle of, a start above all, is undone once it is dead.
func (r *Runtime) kill(c *container) error {
	h, err := c.Monitor.Open()
	if errors.Is(err, process.ErrGone) {
		return r.reclaim(c)
	}
	if err != nil {
		return err
	}
	defer h.Close()
	if err := ask(h); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	if h.Wait(killTimeout) {
		return r.reclaim(c) // tells why if it could not be stopped
	}
	// written while it lives: later the name may be another container's
	err = monitor.WriteExit(c.dir, monitor.Exit{Code: monitor.ExitKilled, Reason: "killed", Time: time.Now()})
	if kerr := h.Signal(unix.SIGKILL); kerr != nil && !errors.Is(kerr, process.ErrGone) {
		return errors.Join(err, kerr)
	}
	if !h.Wait(deathTimeout) {
		return errors.Join(err, fmt.Errorf("the monitor of container %s (process %d) does not die: it waits for the driver of %s", c.ID, c.Monitor.PID, c.Processor))
	}
	return errors.Join(err, r.reclaim(c))
}
