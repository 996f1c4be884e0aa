// Package namespace gives a process the namespaces that linux.namespaces wants for a
// container, as far as they make sense for a monitor.
//
// The monitor works on the host's /sys, /dev and /run, and its processor must be
// stopped when it ends. So it gets a network, host name and System V IPC of its own, or
// joins those of others. A mount namespace would show it other files, or keep mounts
// alive that the host has given up; in a PID namespace it would be killed with that
// namespace's first process, and leave the processor running; cgroup and time
// namespaces only change what it sees and does not look at. These are accepted, and
// their paths are checked. A user namespace would take its rights away, and is refused.
package namespace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Set is the namespaces of a process that is to be started; the zero value is the
// caller's own.
type Set struct {
	made   uintptr // flags of clone(2)
	joined []*os.File
}

// flags of the types that there are.
func flagOf(t specs.LinuxNamespaceType) (flag int, known bool) {
	switch t {
	case specs.NetworkNamespace:
		return unix.CLONE_NEWNET, true
	case specs.UTSNamespace:
		return unix.CLONE_NEWUTS, true
	case specs.IPCNamespace:
		return unix.CLONE_NEWIPC, true
	case specs.MountNamespace:
		return unix.CLONE_NEWNS, true
	case specs.PIDNamespace:
		return unix.CLONE_NEWPID, true
	case specs.CgroupNamespace:
		return unix.CLONE_NEWCGROUP, true
	case specs.TimeNamespace:
		return unix.CLONE_NEWTIME, true
	case specs.UserNamespace:
		return unix.CLONE_NEWUSER, true
	}
	return 0, false
}

// entered are those that a monitor is put into.
const entered = unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// Open checks linux.namespaces and opens what is to be joined. The caller closes it.
func Open(list []specs.LinuxNamespace) (_ *Set, err error) {
	s := &Set{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	seen := 0
	for _, n := range list {
		flag, known := flagOf(n.Type)
		switch {
		case !known:
			return nil, fmt.Errorf("linux.namespaces: there is no type %q", n.Type)
		case seen&flag != 0:
			return nil, fmt.Errorf("linux.namespaces: %s is there twice", n.Type)
		case flag == unix.CLONE_NEWUSER:
			return nil, errors.New("linux.namespaces: a user namespace would take the rights away that a firmware's monitor needs (run it without: --userns=host, hostUsers: true)")
		}
		seen |= flag
		if n.Path == "" {
			s.made |= uintptr(flag & entered)
			continue
		}
		f, err := open(n.Path, flag)
		if err != nil {
			return nil, fmt.Errorf("linux.namespaces: %s: %w", n.Type, err)
		}
		if flag&entered == 0 {
			f.Close()
			continue
		}
		s.joined = append(s.joined, f)
	}
	return s, nil
}

// Of opens the namespaces of a process that a monitor is put into. The caller closes
// them.
func Of(pid int) (*Set, error) {
	s := &Set{}
	for name, flag := range map[string]int{"net": unix.CLONE_NEWNET, "uts": unix.CLONE_NEWUTS, "ipc": unix.CLONE_NEWIPC} {
		f, err := open(fmt.Sprintf("/proc/%d/ns/%s", pid, name), flag)
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without
		}
		if err != nil {
			s.Close()
			return nil, err
		}
		s.joined = append(s.joined, f)
	}
	return s, nil
}

// open opens a namespace of a type. It waits for nobody: the path may be anything.
func open(path string, flag int) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("path %q is not absolute", path)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	is, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || is != flag {
		unix.Close(fd)
		return nil, fmt.Errorf("path %s is no namespace of this type", path)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Close closes what is open.
func (s *Set) Close() {
	for _, f := range s.joined {
		f.Close()
	}
}

// Start starts a command in the namespaces.
func (s *Set) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= s.made
	if len(s.joined) == 0 {
		return cmd.Start()
	}
	started := make(chan error)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with what it joined
		for _, f := range s.joined {
			if err := unix.Setns(int(f.Fd()), 0); err != nil {
				started <- &os.PathError{Op: "setns", Path: f.Name(), Err: err}
				return
			}
		}
		started <- cmd.Start()
	}()
	return <-started
}
