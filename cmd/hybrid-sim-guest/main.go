//go:build linux

// Command hybrid-sim-guest is the init of the virtual board's Linux: it prepares
// the system and runs the commands that the host sends. It is built for linux/arm
// and is of no use elsewhere.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/vm/guest"
	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "hybrid-sim-guest: is the init of the virtual board (hybrid-sim vm), not a command")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "hybrid-sim-guest:", err) // on the console
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := loadModules("/lib/modules"); err != nil {
		return err
	}
	port, err := openPort("hybrid")
	if err != nil {
		return err
	}
	defer port.Close()
	reaper := guest.NewReaper()
	s := &guest.Server{Mount: greet, Flush: unix.Sync}
	return s.Serve(port, reaper)
}

func mountAll() error {
	for _, m := range []struct{ kind, dir, options string }{
		{"devtmpfs", "/dev", ""},
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"debugfs", "/sys/kernel/debug", ""},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"devpts", "/dev/pts", "ptmxmode=0666"},
		{"tmpfs", "/dev/shm", ""},
		{"tmpfs", "/tmp", "mode=1777"},
		{"tmpfs", "/run", "mode=0755"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.kind, m.dir, err)
		}
	}
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return unix.Sethostname([]byte("qemu-virt"))
}

// loadModules loads all modules of a folder in the order of their names, which puts
// each behind those that it needs.
func loadModules(dir string) error {
	modules, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	for _, name := range modules {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("loading %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// openPort opens the port of the virtual console that has a name: there is no udev
// to give it one in /dev. The device appears some time after its module.
func openPort(name string) (*os.File, error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if b, err := os.ReadFile(n); err == nil && strings.TrimSpace(string(b)) == name {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(n)), os.O_RDWR, 0)
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no virtio port %q", name)
		}
		time.Sleep(time.Millisecond)
	}
}

// greet does what the host's greeting asks for.
func greet(g wire.Greeting) error {
	tv := unix.NsecToTimeval(g.Time.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("setting the clock: %w", err)
	}
	for _, s := range g.Shares {
		if err := os.MkdirAll(s.Dir, 0o755); err != nil {
			return err
		}
		flags := uintptr(0)
		if s.ReadOnly {
			flags = unix.MS_RDONLY
		}
		// cache=mmap: files may be mapped, which programs need to run; what the host
		// changes is seen at the next open
		cache := "mmap"
		if s.Constant {
			cache = "loose"
		}
		options := "trans=virtio,version=9p2000.L,msize=512000,access=client,cache=" + cache
		if err := unix.Mount(s.Tag, s.Dir, "9p", flags, options); err != nil {
			return fmt.Errorf("mounting the shared folder on %s: %w", s.Dir, err)
		}
	}
	runtime.GC() // little memory, and from here on little to do
	return nil
}
