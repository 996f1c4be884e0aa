// Package delegate hands Linux containers to a runtime for them, runc or crun: one
// runtime of an engine serves a pod that holds a Linux container and the firmware that
// it talks to.
package delegate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// names of the runtimes that are looked for, in this order.
func names() []string { return []string{"runc", "crun"} }

// ErrNone reports that there is no such runtime.
var ErrNone = errors.New("neither runc nor crun is in PATH (--runtime-delegate PROGRAM)")

// Find returns the program to hand over to: the one that is named, or the first in
// PATH that is not ourselves.
func Find(name string) (string, error) {
	if name != "" {
		program, err := look(name)
		if err != nil {
			return "", fmt.Errorf("--runtime-delegate %s: %w", name, err)
		}
		return program, nil
	}
	for _, n := range names() {
		if program, err := look(n); err == nil {
			return program, nil
		}
	}
	return "", ErrNone
}

func look(name string) (string, error) {
	program, err := exec.LookPath(name)
	if err != nil {
		if inner := (*exec.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		if inner := (*fs.PathError)(nil); errors.As(err, &inner) {
			err = inner.Err // the name is said already
		}
		return "", err
	}
	own, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	other, err := os.Stat(program)
	if err == nil && os.SameFile(own, other) {
		err = errors.New("it is this program itself")
	}
	return program, err
}

// Owns reports whether another runtime has a container of this ID: in the root folder
// that it shares with us, or, without one, in its own.
func Owns(root, id string) bool {
	roots := []string{root}
	if root == "" {
		roots = nil
		for _, n := range names() {
			roots = append(roots, filepath.Join("/run", n))
		}
	}
	for _, r := range roots {
		if Has(filepath.Join(r, id)) {
			return true
		}
	}
	return false
}

// Has reports whether a folder is a container of another runtime: runc keeps
// state.json in it, crun status.
func Has(dir string) bool {
	for _, name := range []string{"state.json", "status"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return err == nil
		}
	}
	return false
}

// Exec becomes the other program, with the arguments args and the environment that we
// have. It returns if it cannot.
func Exec(program string, args []string) error {
	err := syscall.Exec(program, append([]string{program}, args...), os.Environ())
	return fmt.Errorf("run %s: %w", program, err)
}
