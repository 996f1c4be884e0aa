package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// errChanged reports a file that somebody else has changed since it was read.
var errChanged = errors.New("it is being changed by somebody else (try again)")

// newSuffix ends the name under which a file is written.
const newSuffix = ".hybrid-new"

// named is an error of a change, with the name that the machine has for the file.
func (c *Change) named(err error) error {
	var of *fs.PathError
	switch {
	case errors.As(err, &of):
		return fmt.Errorf("%s: %s: %w", c.File, of.Op, of.Err)
	case err != nil:
		return fmt.Errorf("%s: %w", c.File, err)
	}
	return nil
}

// apply makes the change: first what it was is kept, then it becomes another one, each
// in one step.
func (c *Change) apply() (err error) {
	defer func() { err = c.named(err) }()
	var left []string // of one who was killed
	for _, name := range []string{c.path + newSuffix, c.path + backupSuffix + newSuffix} {
		if _, err := os.Lstat(name); err == nil {
			left = append(left, name)
		}
	}
	keep := c.backup != nil && !equal(c.backup, c.kept)
	if !c.Changed() && !c.stale && !keep && left == nil {
		return nil
	}
	dir := filepath.Dir(c.path)
	if c.After != nil {
		if err := makeFolders(dir); err != nil {
			return err
		}
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	for _, name := range left {
		os.Remove(name)
	}
	now, err := readFile(c.path)
	if err != nil {
		return err
	}
	kept, err := readFile(c.path + backupSuffix)
	if err != nil {
		return err
	}
	if !equal(now, c.Before) || !equal(kept, c.kept) { // both decide what it becomes
		return errChanged
	}
	if keep {
		if err := replace(c.path+backupSuffix, c.backup, c.path); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				return
			}
			switch now, again := readFile(c.path); {
			case again != nil || !equal(now, c.Before): // it is what may be wanted
			case kept == nil:
				os.Remove(c.path + backupSuffix)
			default:
				_ = replace(c.path+backupSuffix, kept, c.path)
			}
		}()
	}
	switch {
	case !c.Changed():
	case c.After == nil:
		err = os.Remove(c.path)
	case c.undoes && c.stale && equal(kept, c.After): // needs no room, which may be why
		if err = os.Rename(c.path+backupSuffix, c.path); err == nil {
			err = lock.Sync()
		}
		return err
	default:
		err = replace(c.path, c.After, c.path)
	}
	if err == nil && c.stale {
		err = os.Remove(c.path + backupSuffix)
	}
	if err != nil {
		return err
	}
	return lock.Sync()
}

// inverse is the change that undoes one that was applied just now.
func (c *Change) inverse() *Change {
	kept := c.kept
	switch {
	case c.stale:
		kept = nil
	case c.backup != nil:
		kept = c.backup
	}
	return &Change{
		Engine: c.Engine, File: c.File, Before: c.After, After: c.Before, path: c.path,
		kept: kept, backup: c.kept, stale: kept != nil && c.kept == nil, undoes: true,
	}
}

// equal reports whether two texts of a file are the same; nil is no file.
func equal(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// writable reports why the folder of a file that changes cannot be written, if it cannot:
// by its rights, or because its file system is read-only.
func (c *Change) writable() error {
	if !c.Changed() && !c.stale {
		return nil
	}
	dir := filepath.Dir(c.path)
	err := unix.Access(dir, unix.W_OK|unix.X_OK)
	for errors.Is(err, unix.ENOENT) && filepath.Dir(dir) != dir { // it will be made
		dir = filepath.Dir(dir)
		err = unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return fmt.Errorf("%s: its folder cannot be written: %w", c.File, err)
	}
	return nil
}

// lockFolder takes the lock of a folder: of two who edit at once one waits, and if the
// folder is removed meanwhile that is errChanged.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errChanged
	}
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	locked, err := f.Stat()
	if err == nil {
		var now fs.FileInfo
		if now, err = os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(locked, now) {
			err = errChanged
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// replace writes a file in one step, also over a loss of power. It has the owner, mode
// and extended attributes of the file like, if that is there.
func replace(name string, text []byte, like string) (err error) {
	f, err := os.OpenFile(name+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	mode, there := fs.FileMode(0o644), false
	switch info, err := os.Stat(like); {
	case err == nil:
		mode, there = info.Mode().Perm(), true
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := f.Chmod(mode); err != nil { // whatever the umask is
		return err
	}
	if there {
		if err := copyAttributes(f, like); err != nil {
			return err
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}
