package builder

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks bounds how many symbolic links are followed, as the kernel does.
const maxLinks = 40

// place is where one file goes. It is complete there, or the old one.
type place struct {
	name      string // where symbolic links lead
	temporary string // beside it; "": a device or a pipe, which is written to as it stands
}

// placeOf finds the place of the file that the user calls name, and says before a
// build what would keep it from being written there. Errors begin with what.
func placeOf(what, name string) (place, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return place{}, fmt.Errorf("%s%s is a folder: name a file in it", what, name)
	case err == nil && !info.Mode().IsRegular():
		return place{name: name}, nil
	}
	last, err := followLinks(name)
	if err != nil {
		return place{}, fmt.Errorf("%s%s: %w", what, name, reason(err))
	}
	if last == "" {
		return place{name: name}, nil
	}
	if err := unix.Access(filepath.Dir(last), unix.W_OK|unix.X_OK); err != nil {
		return place{}, fmt.Errorf("%s%s: no file can be made in %s: %w", what, name, filepath.Dir(last), err)
	}
	return place{name: last, temporary: besides(last)}, nil
}

// followLinks follows symbolic links to a file that need not be there yet, or is
// empty if they lead into /proc: /dev/stdout is a file of another name, whoever
// renames over it takes it from everybody.
func followLinks(name string) (string, error) {
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(dir+"/", "/proc/") {
			return "", nil
		}
		if info, err := os.Stat(dir); err != nil {
			return "", err
		} else if !info.IsDir() {
			return "", fmt.Errorf("%s is not a folder", dir)
		}
		name = filepath.Join(dir, filepath.Base(name))
		target, _ := os.Readlink(name) // it fails if this is no link, or nothing yet
		if target == "" {
			return name, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		name = target
	}
	return "", unix.ELOOP
}

func (p place) create() (io.WriteCloser, error) {
	if p.temporary == "" {
		return os.OpenFile(p.name, os.O_WRONLY, 0)
	}
	return os.OpenFile(p.temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
}

func (p place) commit() error {
	if p.temporary == "" {
		return nil
	}
	return os.Rename(p.temporary, p.name)
}

func (p place) abort() {
	if p.temporary != "" {
		_ = os.Remove(p.temporary)
	}
}

// write writes all of the file.
func (p place) write(text []byte) error {
	f, err := p.create()
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = p.commit()
	}
	if err != nil {
		p.abort()
	}
	return err
}
