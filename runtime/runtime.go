// Package runtime is the life of a container whose program is firmware on a remote
// processor: the operations of the OCI runtime specification, one file a verb.
//
// A container is a folder and a process. The folder holds what cannot be derived;
// it becomes visible complete, by one rename, and disappears by another. The
// process is the monitor (package monitor), the container's init. Everything else,
// the state above all, is asked of the kernel at every call.
package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/bundle"
	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// Runtime is the containers below one root folder.
type Runtime struct {
	// Root holds a folder for each container.
	Root string
	// Host is the system whose processors are used.
	Host remoteproc.Host
	// Warn, unless nil, is told what went wrong without a consequence.
	Warn func(error)
}

// New returns the containers below root on the system below sysroot; an empty root
// is the default one of that system, /run/hybrid/containers.
func New(root, sysroot string) (*Runtime, error) {
	if sysroot == "" {
		sysroot = "/"
	}
	sysroot, err := filepath.Abs(sysroot)
	if err != nil {
		return nil, err
	}
	if root == "" {
		root = filepath.Join(sysroot, "run/hybrid/containers")
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	return &Runtime{Root: root, Host: remoteproc.Host{Root: sysroot}}, nil
}

func (r *Runtime) claims() *claim.Store { return claim.NewStore(r.Host) }

func (r *Runtime) holder(id string) claim.Holder { return claim.Holder{ID: id, Root: r.Root} }

// Errors that callers decide on. The runc shim looks for these very words.
var (
	ErrNotExist   = errors.New("does not exist")
	ErrNotRunning = errors.New("container not running")
)

// ErrLinux reports a container that is one of Linux, and not ours.
var ErrLinux = bundle.ErrLinux

// ExistsError reports an ID that is taken.
type ExistsError struct{ ID string }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("container with id exists: %s (hybrid-runtime delete %s)", e.ID, e.ID)
}

// unseenError reports a monitor that cannot be found by its process number, and holds
// its processor: no container to be given up.
type unseenError struct{ c *container }

func (e *unseenError) Error() string {
	return fmt.Sprintf("container %s: its monitor (process %d) lives, and cannot be seen from here (mount /proc, and use the PID namespace in which it was created)",
		e.c.ID, e.c.Monitor.PID)
}

// maxID is the longest ID, in bytes: with a suffix it must be a file name.
const maxID = 200

// checkID lets through what runc does: letters, digits, _ + - and dots, not only dots.
func checkID(id string) error {
	if id == "" || len(id) > maxID || id == "." || id == ".." {
		return fmt.Errorf("container id %q: want 1 to %d letters, digits, or any of . _ + -", id, maxID)
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '_', c == '+', c == '-', c == '.':
		default:
			return fmt.Errorf("container id %q holds %q: want letters, digits, or any of . _ + -", id, c)
		}
	}
	return nil
}

// Folders that are being made or removed start with a character that no ID has.
const (
	makingPrefix   = "@making-"
	removingPrefix = "@removing-"
)

// Owns reports whether a folder of the root is a container of ours, and not one of
// another runtime that has the same root.
func (r *Runtime) Owns(id string) bool { return exists(filepath.Join(r.dir(id), recordFile)) }

func (r *Runtime) dir(id string) string { return filepath.Join(r.Root, id) }

// sweep finishes what killed commands left: processors without a monitor, folders
// half made or half removed. What it cannot finish now stays for the next one.
func (r *Runtime) sweep() {
	entries, _ := os.ReadDir(r.Root) // a folder that is not there holds nothing
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), makingPrefix) && !strings.HasPrefix(e.Name(), removingPrefix) {
			continue
		}
		dir := r.dir(e.Name())
		if maker, err := lockFolder(dir, unix.LOCK_NB); err == nil {
			_ = r.dispose(dir, 0)
			maker.Close()
		}
	}
	r.claims().Sweep()
}
