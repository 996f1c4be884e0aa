package runtime

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/monitor"
)

// RunOptions says how Run ends.
type RunOptions struct {
	Detach bool // return once it runs
	Keep   bool // leave the stopped container
	// Signals are passed on to the container; the second one kills it.
	Signals <-chan os.Signal
}

// Run creates a container, starts it, waits for its end, deletes it, and returns
// its exit code. If it cannot be started nothing is left.
func (r *Runtime) Run(id string, o CreateOptions, ro RunOptions) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	created := make(chan struct{})
	go func() {
		select {
		case <-ro.Signals:
			cancel()
		case <-created:
		}
	}()
	if err := r.Create(ctx, id, o); err != nil {
		return 0, err
	}
	close(created)
	err = ctx.Err() // it was interrupted too late to notice
	if err == nil {
		err = r.Start(id)
	}
	if err != nil {
		return 0, errors.Join(err, r.Delete(id, true))
	}
	if ro.Detach {
		return 0, nil
	}
	code, err = r.wait(id, ro.Signals)
	if err == nil && !ro.Keep {
		if err = r.Delete(id, false); errors.Is(err, ErrNotExist) {
			err = nil // somebody was faster
		}
	}
	return code, err
}

// wait waits for the end of a container, and returns its exit code.
func (r *Runtime) wait(id string, signals <-chan os.Signal) (int, error) {
	c, err := r.load(id)
	if err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	if h, err := c.Monitor.Open(); err != nil {
		close(ended)
	} else {
		go func() {
			for !h.Wait(time.Hour) {
			}
			h.Close()
			close(ended)
		}()
	}
	for n := 0; ; {
		select {
		case s := <-signals:
			n++
			signal, _ := s.(unix.Signal)
			switch {
			case n > 1:
				signal = unix.SIGKILL
			case signal == unix.SIGHUP: // the terminal is gone
				signal = unix.SIGTERM
			}
			if err := r.Kill(id, signal); err != nil && !errors.Is(err, ErrNotRunning) {
				return 0, err
			}
		case <-ended:
			e, err := monitor.ReadExit(c.dir)
			if err != nil {
				return monitor.ExitKilled, nil //nolint:nilerr // no record: it was killed before it could write one
			}
			return e.Code, nil
		}
	}
}
