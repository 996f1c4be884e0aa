//go:build engine

package engines

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine is what an engine could leave outside of its folder, in the places that
// it knows: files, and cgroups.
func machine(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, pattern := range []string{
		"/run/containerd", "/run/docker", "/run/runc", "/run/hybrid", "/run/libpod", "/run/containers", "/run/netns", "/dev/shm/libpod*",
		"/etc/cni", "/etc/docker", "/etc/containerd", "/etc/containers", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/cni",
		"/sys/fs/cgroup/*/docker", "/sys/fs/cgroup/*/libpod_parent", "/sys/fs/cgroup/*/" + idPrefix + "ctr",
	} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, top := range names {
			err := filepath.WalkDir(top, func(name string, e fs.DirEntry, err error) error {
				switch {
				case errors.Is(err, fs.ErrNotExist):
					return nil
				case err != nil:
					return err
				case e.IsDir() || !strings.HasPrefix(name, "/sys/"): // of cgroups the folders
					found[name] = true
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

// wantMachine wants the machine to be as before, but for what engines never remove:
// their own folders, empty, which are removed here.
func wantMachine(t *testing.T, before map[string]bool) {
	t.Helper()
	eventually(t, func() error {
		var left []string
		for name := range machine(t) {
			if !before[name] {
				left = append(left, name)
			}
		}
		slices.Sort(left)
		slices.Reverse(left) // what is in a folder before the folder
		for _, name := range left {
			info, err := os.Lstat(name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return err
			case !own(name):
				return fmt.Errorf("%s is left", name)
			case info.IsDir() || strings.HasPrefix(name, "/dev/shm/libpod"):
				if err := os.Remove(name); err != nil {
					return fmt.Errorf("left, and cannot be removed: %w", err)
				}
			default:
				return fmt.Errorf("%s is left", name)
			}
		}
		return nil
	})
}

// own reports whether an engine, not a container, is what a file is for.
func own(name string) bool {
	switch name {
	case "/run/containerd/runc", "/run/containerd/runc/default", "/run/containerd/runc/moby": // where shims keep states
		return true
	}
	switch filepath.Base(name) {
	case "docker", "libpod_parent", "conmon", "containerd", "s", idPrefix + "ctr":
		return true
	}
	return strings.HasPrefix(name, "/dev/shm/libpod_lock") || strings.HasPrefix(name, "/run/libpod") || strings.HasPrefix(name, "/run/containers")
}
