package buildkit

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// removeKilled ends the steps of a process that was killed before it could, and removes
// their mounts: nobody else would, and the state folder could not be deleted. executor is
// the folder of BuildKit's runc executor, which has one for each step that runs, by
// the name of its container. Whoever calls it holds the lock of the state folder.
func removeKilled(ctx context.Context, executor, runcPath string) error {
	entries, err := os.ReadDir(executor)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		step := filepath.Join(executor, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "hosts."):
			errs = append(errs, os.Remove(step))
			continue
		case !e.IsDir():
			continue
		}
		// it fails if runc knows it no more
		_ = exec.CommandContext(ctx, runcPath, "delete", "--force", e.Name()).Run()
		rootfs := filepath.Join(step, "rootfs")
		_ = unix.Unmount(rootfs, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // none, if it was killed before
		// not with all that is in it: should it be mounted still, that is a layer
		if err := os.Remove(rootfs); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.RemoveAll(step))
	}
	return errors.Join(append(errs, err)...)
}
