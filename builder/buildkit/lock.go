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
// lockState waits, after one call to waiting, until ctx ends.
func lockState(ctx context.Context, dir string, waiting func(string)) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	// the name that buildkitd uses, so that the two never share a folder
	lock := flock.New(filepath.Join(dir, "buildkitd.lock"))
	ok, err := lock.TryLock()
	if err == nil && !ok {
		if waiting != nil {
			waiting(dir)
		}
		ok, err = lock.TryLockContext(ctx, lockPoll)
	}
	if err != nil || !ok {
		return nil, fmt.Errorf("lock state folder %s: %w", dir, err)
	}
	return lock, nil
}
