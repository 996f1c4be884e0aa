package buildkit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is how often a waiting process asks for the lock: short beside a
// build, long beside a system call.
const lockPoll = 50 * time.Millisecond

// lockState makes dir and takes it for this process. While another one has it,
// lockState waits, after one call to waiting, until ctx ends, or until served, if
// not nil, says that the other one is a server whose BuildKit can be used: then the
// lock is nil.
func lockState(ctx context.Context, dir string, waiting func(string), served func() bool) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	// the name that buildkitd uses, so that the two never share a folder
	lock := flock.New(filepath.Join(dir, "buildkitd.lock"))
	for said := false; ; {
		if served != nil && served() {
			return nil, nil
		}
		if ok, err := lock.TryLock(); err != nil {
			return nil, fmt.Errorf("lock state folder %s: %w", dir, err)
		} else if ok {
			return lock, nil
		}
		if !said && waiting != nil {
			waiting(dir)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock state folder %s: %w", dir, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}
