package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/cgroup"
	"github.com/hybrid-containers/hybrid/runtime/delegate"
	"github.com/hybrid-containers/hybrid/runtime/monitor"
	"github.com/hybrid-containers/hybrid/runtime/process"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// Keys of the annotations that the state of a container has besides its own.
const (
	KeyDigest         = "hybrid.firmware.digest" // sha256:… of the ELF file
	KeyProcessorState = "hybrid.processor.state" // what the kernel says now
	KeyExitCode       = "hybrid.exit.code"       // of a stopped container, if known
	KeyExitReason     = "hybrid.exit.reason"     // of a stopped container, if known
)

// record is what is on disk about a container: what cannot be derived.
type record struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Board       string            `json:"board"`     // as the image says it, or the board it is on
	MCU         string            `json:"mcu"`       // as the image says it, or the core it is on
	Processor   string            `json:"processor"` // instance
	Digest      string            `json:"digest"`    // of the firmware
	Monitor     process.Identity  `json:"monitor"`
	Cgroup      []string          `json:"cgroup,omitempty"` // folders, to be removed
	Hooks       *specs.Hooks      `json:"hooks,omitempty"`  // the bundle's may change meanwhile
}

const recordFile = "container.json"

// writeRecord replaces the record in a folder in one step. Engines keep the folder in
// tmpfs; where it is on a disk, a power loss leaves a whole record or none.
func writeRecord(dir string, rec record) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, recordFile)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// container is a container as it is now.
type container struct {
	record
	dir     string
	status  specs.ContainerState
	kernel  remoteproc.State // of its processor, empty if that is gone
	monitor bool             // the monitor lives
	exit    *monitor.Exit    // of a stopped container, nil if not known
}

// load reads a container and derives its state.
func (r *Runtime) load(id string) (*container, error) {
	c, err := r.read(id)
	if err == nil {
		r.derive(c)
	}
	return c, err
}

// read reads what is on disk about a container.
func (r *Runtime) read(id string) (*container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	c := &container{dir: r.dir(id)}
	b, err := os.ReadFile(filepath.Join(c.dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) && !exists(c.dir) {
		return nil, r.notExist(id)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("container %s: %w (run hybrid-runtime as root)", id, err)
	}
	if errors.Is(err, fs.ErrNotExist) && delegate.Has(c.dir) {
		return nil, fmt.Errorf("container %s is another runtime's, as runc or crun: ask the engine that runs it", id)
	}
	if err == nil {
		err = json.Unmarshal(b, &c.record)
	}
	if err == nil && c.ID != id {
		err = fmt.Errorf("it is the record of container %q", c.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("container %s is damaged: %s: %w (hybrid-runtime delete --force %s)", id, recordFile, err, id)
	}
	return c, nil
}

func (r *Runtime) notExist(id string) error {
	return fmt.Errorf("container %s %w (in %s)", id, ErrNotExist, r.Root)
}

// derive asks the monitor and the processor.
func (r *Runtime) derive(c *container) {
	c.monitor = c.Monitor.Alive() || r.claims().Holds(c.Processor, r.holder(c.ID))
	c.kernel, _ = r.Host.State(c.Processor)
	e, err := monitor.ReadExit(c.dir)
	if err == nil {
		c.exit = &e
	}
	switch {
	case !c.monitor, c.exit != nil:
		c.status = specs.StateStopped
	case exists(filepath.Join(c.dir, monitor.StartSocket)):
		c.status = specs.StateCreated
	case c.kernel == remoteproc.Running || c.kernel == remoteproc.Attached:
		c.status = specs.StateRunning
	default:
		c.status = specs.StateStopped // the monitor is about to see it, and to exit
	}
}

// stopFile marks a container that was asked to stop: who deletes it waits for its end.
const stopFile = "stop"

// makingTimeout is how long another command may hold a folder that is being made,
// before it is taken for a container that somebody else creates.
const makingTimeout = 2 * time.Second

// newFolder makes the folder of a container under a name that is not visible yet,
// locked until the file is closed. The name is the ID's: of two who create the same
// container at once, one gets no further than this.
func (r *Runtime) newFolder(id string) (dir string, lock *os.File, err error) {
	if err := os.MkdirAll(r.Root, 0o700); err != nil {
		return "", nil, err
	}
	dir = r.dir(makingPrefix + id)
	for deadline := time.Now().Add(makingTimeout); ; {
		err := os.Mkdir(dir, 0o700)
		if errors.Is(err, fs.ErrExist) {
			err = r.takeOver(dir)
			if errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(deadline) {
				time.Sleep(5 * time.Millisecond) // a sweep may have it, for a moment
				continue
			}
			if errors.Is(err, unix.EWOULDBLOCK) {
				err = &ExistsError{id}
			}
			if err == nil {
				continue
			}
		}
		if err != nil {
			return "", nil, err
		}
		lock, err = lockFolder(dir, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another command took it for one that was left behind, in the moment before the lock
		}
		if err == nil && exists(r.dir(id)) { // made visible since it was looked for
			_ = os.Remove(dir)
			lock.Close()
			err = &ExistsError{id}
		}
		if err != nil {
			return "", nil, err
		}
		return dir, lock, nil
	}
}

// takeOver removes a folder that a killed command left half made. If one is at work in
// it the error wraps EWOULDBLOCK.
func (r *Runtime) takeOver(dir string) error {
	lock, err := lockFolder(dir, unix.LOCK_NB)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	return r.dispose(dir, cgroupTimeout)
}

// lockFolder takes the lock of a folder; with how LOCK_NB the error is EWOULDBLOCK
// if somebody has it. If the folder is removed meanwhile the error wraps
// fs.ErrNotExist, also if there is another of its name.
func lockFolder(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|how)
	}
	if err == nil {
		err = same(f, dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func same(f *os.File, dir string) error {
	locked, err := f.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(dir)
	if err == nil && !os.SameFile(locked, now) {
		err = fs.ErrNotExist
	}
	return err
}

// show makes the folder visible as the container id.
func (r *Runtime) show(dir, id string) error {
	err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, r.dir(id), unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return &ExistsError{id}
	}
	return os.NewSyscallError("rename", err)
}

// remove makes the container invisible in one step, and then undoes and removes what
// its folder holds.
func (r *Runtime) remove(id string) error {
	dir := filepath.Join(r.Root, fmt.Sprintf("%s%s-%d", removingPrefix, id, os.Getpid()))
	if err := os.Rename(r.dir(id), dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody else was faster
		}
		return err
	}
	return r.dispose(dir, cgroupTimeout)
}

// cgroupTimeout is how long a cgroup may be busy after the end of the monitor.
const cgroupTimeout = time.Second

// dispose undoes what the record in a folder says, runs the hooks that come after, and
// removes the folder, which is not visible. The folder stays while processes that do
// not end within wait keep the cgroup: the next sweep tries again.
func (r *Runtime) dispose(dir string, wait time.Duration) error {
	c := &container{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err == nil && json.Unmarshal(b, &c.record) == nil {
		if err := cgroup.Remove(c.Cgroup, wait); err != nil {
			return err
		}
		if c.Monitor.PID != 0 { // else no hook has run
			r.poststop(c)
		}
	}
	return os.RemoveAll(dir)
}
