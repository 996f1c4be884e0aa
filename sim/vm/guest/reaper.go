//go:build linux

package guest

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Reaper waits for all children of this process, as an init must: for those that it
// has started, whose end it reports, and for the orphans that were given to it.
// There is one in a process, and nothing else there may wait for children.
type Reaper struct {
	mu    sync.Mutex
	ended map[int]func(syscall.WaitStatus, *syscall.Rusage)
	child chan os.Signal
	done  sync.WaitGroup
}

// NewReaper starts to reap, until Close.
func NewReaper() *Reaper {
	r := &Reaper{ended: map[int]func(syscall.WaitStatus, *syscall.Rusage){}, child: make(chan os.Signal, 1)}
	signal.Notify(r.child, syscall.SIGCHLD)
	r.done.Go(func() {
		for range r.child {
			r.reap()
		}
	})
	return r
}

// Close ends reaping.
func (r *Reaper) Close() {
	signal.Stop(r.child)
	close(r.child)
	r.done.Wait()
}

// Start starts a process, and calls ended once when it has ended.
func (r *Reaper) Start(path string, args []string, attr *syscall.ProcAttr, ended func(syscall.WaitStatus, *syscall.Rusage)) (pid int, err error) {
	// Held, so that the end is not seen before it is known whose it is.
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err = syscall.ForkExec(path, args, attr)
	if err == nil {
		r.ended[pid] = ended
	}
	return pid, err
}

// reap waits for all that have ended.
func (r *Reaper) reap() {
	for {
		var ws syscall.WaitStatus
		var usage syscall.Rusage
		r.mu.Lock()
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, &usage)
		ended := r.ended[pid]
		delete(r.ended, pid)
		r.mu.Unlock()
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil || pid == 0:
			return
		case ended != nil:
			ended(ws, &usage)
		}
	}
}
