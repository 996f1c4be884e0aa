// Package cgroup is the cgroup of a container: made where linux.cgroupsPath says,
// entered by the monitor, whose use an engine's statistics show, and removed with the
// container. It writes the files of cgroupfs, of version 1, of version 2, and of both
// where both are mounted.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroup is a folder in each hierarchy that is mounted.
type Cgroup struct{ folders []folder }

type folder struct {
	hierarchy
	name string // absolute
}

// Find says where a cgroup is that is written as in config.json: an absolute path, or
// one below the caller's own cgroup, which no .. leaves; with systemd
// SLICE:PREFIX:NAME, which becomes the path that systemd would give it. Nothing is made.
func Find(path string, systemd bool) (*Cgroup, error) { return find("/proc/self", path, systemd) }

func find(proc, path string, systemd bool) (*Cgroup, error) {
	if systemd {
		var err error
		if path, err = expand(path); err != nil {
			return nil, fmt.Errorf("linux.cgroupsPath: %w", err)
		}
	}
	hierarchies, err := mounted(proc)
	if err != nil {
		return nil, err
	}
	if len(hierarchies) == 0 {
		return nil, fmt.Errorf("linux.cgroupsPath %s: no cgroups are mounted on this system", path)
	}
	c := &Cgroup{}
	for _, h := range hierarchies {
		below := filepath.Clean("/" + path)
		if !filepath.IsAbs(path) {
			if below == "/" { // it would be removed with the container, and what is below it
				return nil, fmt.Errorf("linux.cgroupsPath %q is the caller's own cgroup", path)
			}
			below = filepath.Join("/", h.own, below)
		}
		if below == "/" {
			return nil, fmt.Errorf("linux.cgroupsPath %q is the root of all cgroups", path)
		}
		c.folders = append(c.folders, folder{h, filepath.Join(h.dir, below)})
	}
	return c, nil
}

// Folders are what Remove takes.
func (c *Cgroup) Folders() []string {
	var names []string
	for _, f := range c.folders {
		names = append(names, f.name)
	}
	return names
}

// Make makes the folders, and those above that are missing.
func (c *Cgroup) Make() error {
	for _, f := range c.folders {
		if err := f.make(); err != nil {
			return fmt.Errorf("make the cgroup: %w", err)
		}
	}
	return nil
}

// make makes one folder after the other, because some want something of the one above.
func (f folder) make() error {
	below := strings.TrimPrefix(f.name, f.dir)
	at := f.dir
	for part := range strings.SplitSeq(strings.Trim(below, "/"), "/") {
		if f.unified {
			delegate(at)
		}
		above := at
		at = filepath.Join(at, part)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if f.has("cpuset") {
			for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
				if err := inherit(above, at, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// delegate hands the controllers of a folder of version 2 down to the folders in it,
// as far as it may: one that holds processes may not.
func delegate(dir string) {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	for controller := range strings.FieldsSeq(string(available)) {
		switch controller {
		case "cpu", "cpuset", "io", "memory", "pids": // what statistics and limits are about
			_ = write(dir, "cgroup.subtree_control", "+"+controller)
		}
	}
}

// inherit fills what is empty in a new cpuset of version 1, which lets no process in.
func inherit(above, dir, name string) error {
	own, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || strings.TrimSpace(string(own)) != "" {
		return err
	}
	theirs, err := os.ReadFile(filepath.Join(above, name))
	if err != nil {
		return err
	}
	return write(dir, name, strings.TrimSpace(string(theirs)))
}

// Enter moves a process into the cgroup.
func (c *Cgroup) Enter(pid int) error {
	for _, f := range c.folders {
		if err := write(f.name, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("enter the cgroup: %w", err)
		}
	}
	return nil
}

// write writes to a file that the kernel has made.
func write(dir, name, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// Processes are those in the folders of a cgroup and in what is below them. What is
// not there has none.
func Processes(folders []string) ([]int, error) {
	var pids []int
	for _, name := range folders {
		err := filepath.WalkDir(name, func(at string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return ignoreGone(err)
			}
			b, err := os.ReadFile(filepath.Join(at, "cgroup.procs"))
			for field := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(field); err == nil && !slices.Contains(pids, pid) {
					pids = append(pids, pid)
				}
			}
			return ignoreGone(err)
		})
		if err != nil {
			return nil, err
		}
	}
	return pids, nil
}

// ignoreGone ignores that a cgroup is removed while it is read.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// Kill kills the processes in the folders of a cgroup. Remove waits for their end.
func Kill(folders []string) error {
	pids, err := Processes(folders)
	for _, pid := range pids {
		if kerr := unix.Kill(pid, unix.SIGKILL); kerr != nil && !errors.Is(kerr, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill process %d in the cgroup: %w", pid, kerr))
		}
	}
	return err
}

// Remove removes the folders of a cgroup, with what is below them. It waits as long
// for processes that are about to end; ones that do not end are an error.
func Remove(folders []string, wait time.Duration) error {
	var errs []error
	deadline := time.Now().Add(wait)
	for _, name := range folders {
		err := remove(name)
		for pause := time.Millisecond; errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); pause *= 2 {
			time.Sleep(pause)
			err = remove(name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove the cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

func remove(dir string) error {
	// not os.Remove, which tries unlink(2) first
	err := unix.Rmdir(dir)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case !errors.Is(err, unix.EBUSY):
		return pathError(dir, err)
	}
	below, rerr := os.ReadDir(dir)
	if rerr != nil {
		return pathError(dir, err)
	}
	for _, e := range below {
		if e.IsDir() {
			if err := remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return pathError(dir, unix.Rmdir(dir))
}

func pathError(dir string, err error) error {
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
}
