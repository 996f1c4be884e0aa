package setup

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// madeName is the mark of a folder that install has made, in it: without the mark it was
// there before, and stays. Engines read no such file.
const madeName = ".hybrid-made"

// makeFolders makes a folder and those above it; it is errChanged if somebody removes one
// of them meanwhile.
func makeFolders(dir string) error {
	err := makeFolder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return errChanged
	}
	return err
}

// makeFolder makes a folder and those above it. One who is killed before the mark leaves
// an empty folder, and never takes away one of somebody else.
func makeFolder(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFolder(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
		}
		return err
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, madeName), nil, 0o644); err != nil {
		os.Remove(filepath.Join(dir, madeName))
		os.Remove(dir)
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

// marked reports whether install made a folder.
func marked(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, madeName))
	return err == nil && info.Mode().IsRegular()
}

// removeFolders removes a folder that install made, and those above it, as long as there
// is nothing else in them.
func removeFolders(dir string) error {
	for {
		if removed, err := removeFolder(dir); err != nil || !removed {
			return err
		}
		dir = filepath.Dir(dir)
	}
}

func removeFolder(dir string) (bool, error) {
	if !marked(dir) {
		_, err := os.Lstat(dir)
		return errors.Is(err, fs.ErrNotExist), nil
	}
	lock, err := lockFolder(dir) // of one who puts a file there
	if errors.Is(err, errChanged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if entries, err := lock.ReadDir(2); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	} else if len(entries) != 1 || entries[0].Name() != madeName {
		return false, nil
	}
	mark := filepath.Join(dir, madeName)
	if err := os.Remove(mark); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // another one left it to somebody
			err = nil
		}
		return false, err
	}
	switch err := os.Remove(dir); {
	case err == nil:
		return true, syncFolder(filepath.Dir(dir))
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EBUSY): // it is somebody else's now
		return false, nil
	default:
		return false, errors.Join(err, os.WriteFile(mark, nil, 0o644))
	}
}

// leaveFolders leaves no folder that install made for these files: those that are empty
// go, others lose their mark, but for those that hold one with a mark.
func leaveFolders(changes []*Change) error {
	for _, c := range changes {
		if err := removeFolders(filepath.Dir(c.path)); err != nil {
			return c.named(err)
		}
	}
	for _, c := range changes {
		for dir := filepath.Dir(c.path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if !marked(dir) {
				continue
			}
			below, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return c.named(err)
			}
			if slices.ContainsFunc(below, func(e fs.DirEntry) bool { return e.IsDir() && marked(filepath.Join(dir, e.Name())) }) {
				break
			}
			if err := os.Remove(filepath.Join(dir, madeName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return c.named(err)
			}
		}
	}
	return nil
}

// syncFolder makes what was done in a folder survive a loss of power.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
