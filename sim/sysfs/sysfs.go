// Package sysfs is a simulated remoteproc: the interface of the Linux kernel to
// remote processors, served over FUSE for a folder that stands for /. Its cores only
// pretend to run, unless Config.Run lets them execute their firmware.
//
// What the kernel answers is imitated to the errno: which write is refused in which
// state, what start makes of a firmware file, what a crash does with and without
// recovery. It follows drivers/remoteproc of Linux 6.1; see Config.StopCrashed and
// Config.TrimSearchPath for what has changed since. What pretend firmware does is
// commanded, through the control file or the methods of Core.
//
// Under the folder DIR of Mount:
//
//	DIR/sys/class/remoteproc/remoteprocN        name firmware state recovery coredump uevent device devcoredump
//	DIR/sys/class/devcoredump                   devcdN with data and failing_device, disabled
//	DIR/sys/class/tty                           ttyRPMSGN, a link to below its processor
//	DIR/sys/kernel/debug/remoteproc/remoteprocN traceM crash recovery coredump name resource_table carveout_memories
//	DIR/sys/module/firmware_class/parameters    path
//	DIR/sys/firmware/devicetree/base            compatible model, a folder for each core's node
//	DIR/dev/kmsg                                the kernel's log, see package kmsg
//	DIR/dev/ttyRPMSGN                           a link to a pseudo terminal
//	DIR/sim/remoteprocN/tty                     what Linux wrote to it
//	DIR/sim/remoteprocN/control                 what the core does; reading it shows the commands
//
// Firmware is looked for in DIR/lib/firmware and the other folders in which the
// kernel looks, inside of DIR; compressed firmware is not. DIR/lib/firmware, DIR/run
// and DIR/dev are plain folders.
//
// With Config.Run what firmware prints is read from its memory, and a fault that it
// does not handle, or tells of, is a crash.
//
// Firmware with a virtio device for rpmsg announces one channel, rpmsg-tty, and sends
// back what it receives there.
//
// Not simulated: /dev/remoteprocN, other virtio devices and channels, /dev/rpmsgN.
package sysfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs/kmsg"
)

// FirmwareName in Config.Greeting stands for the name of the firmware file.
const FirmwareName = "{firmware}"

// Config is a simulated board.
type Config struct {
	// Compatible are the strings of the device tree's root, most specific first.
	Compatible []string
	// Model is the device tree's name for the board.
	Model string
	// Processors are remoteproc0, remoteproc1, …
	Processors []Processor
	// Greeting, unless empty, is a line that every firmware with a trace buffer
	// prints at every boot. FirmwareName in it is replaced.
	Greeting string
	// Run lets the cores execute their firmware, as a Cortex-M in QEMU, instead of
	// pretending. Their memories must be where that one has its own: see package mcu.
	Run bool
	// StopCrashed lets a crashed core be stopped, as Linux 6.1.192 does. Without,
	// stopping it is EINVAL, as in 6.1.176 and 6.12.95.
	StopCrashed bool
	// TrimSearchPath lets a newline at the end of the firmware search path not be a part
	// of it, as Linux does since 6.3.
	TrimSearchPath bool
	// NoKmsg leaves DIR/dev/kmsg out, as if it must not be read.
	NoKmsg bool
	// Log, unless nil, receives the lines that the kernel would log. It is called by
	// one goroutine at a time.
	Log io.Writer
}

// Processor is a remote processor.
type Processor struct {
	// Name is the name attribute, chosen by the driver.
	Name string
	// NodeName is the name of the device-tree node, different for each processor.
	NodeName string
	// Compatible are the strings of the node, most specific first.
	Compatible []string
	// Memory is where firmware may be loaded to, by device address. A region's name
	// is what a carveout of a resource table may refer to.
	Memory []board.Region
	// Firmware is the firmware attribute's first value; empty is the kernel's own
	// default, rproc-NAME-fw.
	Firmware string
	// Attached says that a boot loader started the core: its state is detached.
	Attached bool
	// Booted is the ELF file that the boot loader started. Empty is firmware of which
	// nobody knows more than AttachedTrace says.
	Booted []byte
	// AttachedTrace is the size in bytes of the trace buffer of the firmware that the
	// boot loader started, at the start of the first memory; 0 is none.
	AttachedTrace uint32
	// TableRequired refuses firmware without a good resource table, as the kernel's
	// own loader does. The drivers of i.MX and STM32 do not.
	TableRequired bool
	// ReadOnly makes all attributes read-only, for processors that Linux must leave
	// alone.
	ReadOnly bool
}

func (c Config) check() error {
	nodes := map[string]bool{}
	for i, p := range c.Processors {
		switch {
		case p.Name == "" || strings.ContainsAny(p.Name, "/\n\x00"):
			return fmt.Errorf("processor %d: %q is not a name", i, p.Name)
		case p.NodeName == "" || strings.ContainsAny(p.NodeName, "/\n\x00") || p.NodeName == "." || p.NodeName == "..":
			return fmt.Errorf("processor %d (%s): %q is not a name of a device-tree node", i, p.Name, p.NodeName)
		case nodes[p.NodeName]:
			return fmt.Errorf("processor %d (%s): there is another with the device-tree node %q", i, p.Name, p.NodeName)
		}
		nodes[p.NodeName] = true
		if c.Run {
			if err := runnable(p); err != nil {
				return fmt.Errorf("processor %d (%s): %w", i, p.Name, err)
			}
		}
	}
	return nil
}

// Server is a mounted simulation. Its methods may be called from any goroutine.
type Server struct {
	cores  []*Core
	kmsg   *kmsg.Log
	mounts []mount
	end    sync.Once
	err    error // of Unmount
}

type mount struct {
	dir    string
	server *fuse.Server
}

// ErrMounted reports a folder in which something is mounted already.
var ErrMounted = errors.New("something is mounted there already")

// Mount serves the board under dir, and makes the folders that are missing. It
// needs root and /dev/fuse. What a killed server left mounted on dir/sys, dir/sim and
// dir/dev/kmsg is unmounted first; anything else there is ErrMounted.
func Mount(dir string, config Config) (*Server, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	release, err := kernelRelease()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"sys", "sim", "dev/kmsg"} {
		if err := clean(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"sys", "sim", "lib/firmware", "run", "dev"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	files := &search{root: dir, release: release, trim: config.TrimSearchPath}
	k := &kernel{open: files.open, greeting: config.Greeting, stopCrashed: config.StopCrashed, log: config.Log}
	k.inodes.Store(1 << 32)
	k.dumps.kept = dumpTime
	k.ttys.dir = filepath.Join(dir, "dev")
	s := &Server{}
	// what a killed server left; links to terminals that may be others' by now
	links, _ := filepath.Glob(filepath.Join(dir, "dev/ttyRPMSG*"))
	for _, link := range links {
		if err := os.Remove(link); err != nil {
			return nil, err
		}
	}
	log := filepath.Join(dir, "dev/kmsg")
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if !config.NoKmsg {
		if s.kmsg, err = kmsg.Mount(log); err != nil {
			return nil, err
		}
		k.kmsg = s.kmsg
	}
	for i, p := range config.Processors {
		c := newCore(k, fmt.Sprintf("remoteproc%d", i), p)
		s.cores = append(s.cores, c)
		if config.Run {
			if err := c.powerOn(); err != nil {
				return nil, errors.Join(err, s.Unmount())
			}
		}
		if p.Attached && len(p.Booted) > 0 {
			if err := c.preload(p.Booted); err != nil {
				return nil, errors.Join(fmt.Errorf("processor %d (%s): firmware of the boot loader: %w", i, p.Name, err), s.Unmount())
			}
		}
	}
	for _, m := range []struct {
		name string
		root *folder
	}{{"sys", sysTree(k, config, s.cores, files)}, {"sim", simTree(s.cores)}} {
		where := filepath.Join(dir, m.name)
		server, err := serve(where, m.root)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("mount %s (needs root and /dev/fuse): %w", where, err), s.Unmount())
		}
		s.mounts = append(s.mounts, mount{where, server})
	}
	return s, nil
}

// clean makes sure that nothing is mounted on dir. What a server left that was
// killed is unmounted: nobody answers there.
func clean(dir string) error {
	var stat, parent unix.Stat_t
	err := unix.Statfs(dir, new(unix.Statfs_t)) // what stat(2) says may be remembered
	if err == nil {
		err = unix.Stat(dir, &stat)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTCONN):
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s, which a killed process left: %w", dir, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := unix.Stat(filepath.Dir(dir), &parent); err != nil {
		return fmt.Errorf("%s: %w", filepath.Dir(dir), err)
	}
	if stat.Dev != parent.Dev {
		return fmt.Errorf("%s: %w", dir, ErrMounted)
	}
	return nil
}

// Core is remoteproc<n>, counted from 0.
func (s *Server) Core(n int) *Core { return s.cores[n] }

// Unmount ends the simulation. It does not wait for those who still have files
// open: what they read or write fails from then on.
func (s *Server) Unmount() error {
	s.end.Do(func() { s.err = s.unmount() })
	return s.err
}

func (s *Server) unmount() error {
	for _, c := range s.cores {
		c.close()
	}
	var errs []error
	if s.kmsg != nil {
		errs = append(errs, s.kmsg.Unmount())
	}
	for _, m := range s.mounts {
		err := unix.Unmount(m.dir, 0)
		if errors.Is(err, unix.EBUSY) {
			// MNT_FORCE cuts the connection, else the server would live on for the
			// sake of the last open file
			err = unix.Unmount(m.dir, unix.MNT_DETACH|unix.MNT_FORCE)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m.dir, err))
			continue
		}
		m.server.Wait()
	}
	return errors.Join(errs...)
}
