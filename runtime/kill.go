package runtime

import (
	"errors"
	"fmt"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/monitor"
	"github.com/hybrid-containers/hybrid/runtime/process"
)

// deathTimeout is how long a killed monitor may take to end. Only a driver that
// hangs in the kernel keeps it.
const deathTimeout = 10 * time.Second

// Kill sends a signal to a container. SIGTERM, SIGINT and SIGQUIT stop the
// processor, and the container exits with 0; SIGKILL stops it too, and the
// container exits with 137; others change nothing, as firmware knows no signals.
// Without a processor to stop the error wraps ErrNotRunning.
func (r *Runtime) Kill(id string, signal unix.Signal) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	if c.status == specs.StateStopped {
		// it may be stopped because its monitor was killed
		if err := r.claims().Reclaim(c.Processor); err != nil {
			return err
		}
		return fmt.Errorf("cannot signal container %s: %w", id, ErrNotRunning)
	}
	if signal == unix.SIGKILL {
		return r.kill(c)
	}
	return c.signal(signal)
}

// signal sends a signal to the monitor.
func (c *container) signal(signal unix.Signal) error {
	h, err := c.Monitor.Open()
	if err == nil {
		defer h.Close()
		err = h.Signal(signal)
	}
	if errors.Is(err, process.ErrGone) {
		return fmt.Errorf("cannot signal container %s: %w", c.ID, ErrNotRunning)
	}
	return err
}

// kill ends the container now. The processor is stopped before the monitor dies, so
// that no moment is left in which it runs and nobody watches; the monitor is frozen
// meanwhile, so that it does not take our stop for somebody else's. Whatever it was
// in the middle of, a start above all, is undone once it is dead.
func (r *Runtime) kill(c *container) error {
	h, err := c.Monitor.Open()
	if errors.Is(err, process.ErrGone) {
		return r.claims().Reclaim(c.Processor)
	}
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.Signal(unix.SIGSTOP); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	if p, err := r.Host.Processor(c.Processor); err == nil {
		// an error is not the end: Reclaim below tries again, and reports it
		_ = p.Stop()
	}
	if err := h.Signal(unix.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	if !h.Wait(deathTimeout) {
		return fmt.Errorf("the monitor of container %s (process %d) does not die: it waits for the driver of %s", c.ID, c.Monitor.PID, c.Processor)
	}
	if err := monitor.WriteExit(c.dir, monitor.Exit{Code: monitor.ExitKilled, Reason: "killed", Time: time.Now()}); err != nil {
		return err
	}
	return r.claims().Reclaim(c.Processor)
}
