// Package remoteproc is the kernel's interface to remote processors, and nothing
// else: the class in sysfs, the debugfs folder, the character device, and the
// kernel's log.
//
// Sources: Documentation/ABI/testing/sysfs-class-remoteproc and, for what it does
// not say, drivers/remoteproc/remoteproc_{core,sysfs,debugfs,cdev}.c. The comments
// here name what surprises.
package remoteproc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// State is the content of a processor's state attribute.
type State string

// The states of rproc_state_string in remoteproc_sysfs.c.
const (
	Offline   State = "offline"
	Suspended State = "suspended"
	Running   State = "running"
	Crashed   State = "crashed"
	Deleted   State = "deleted"
	Attached  State = "attached"
	Detached  State = "detached"
	Invalid   State = "invalid"
)

// Up reports whether the core executes something: what we started, what the boot
// loader started, or what is left of a crash.
func (s State) Up() bool { return s != Offline && s != Deleted }

// Host is a Linux system: the folder under which its /sys and /dev are found,
// "/" for this one.
type Host struct{ Root string }

func (h Host) path(name string) string { return filepath.Join(h.Root, name) }

// Processor is one remote processor.
type Processor struct {
	// Instance is the kernel's name of it: remoteprocN. N is the order in which
	// the drivers came up.
	Instance string
	// Name is the name attribute. Drivers choose it; it may be the same twice.
	Name string
	// Node is the name of its device-tree node, empty without one; Unit is that with
	// the address, by which nodes of one name differ: r5f and r5f@78000000.
	Node, Unit string
	// Compatible are the strings of its device-tree node, most specific first.
	Compatible []string

	dir   string // in /sys/class/remoteproc
	debug string // in debugfs
	dev   string // the character device
}

// ErrNoProcessors reports a kernel without the remoteproc class.
var ErrNoProcessors = errors.New("this kernel shows no remote processors (/sys/class/remoteproc): is the driver loaded, and the processor in the device tree?")

// Processors lists the remote processors in the order of their numbers. None is
// ErrNoProcessors.
func (h Host) Processors() ([]*Processor, error) {
	entries, err := os.ReadDir(h.path("sys/class/remoteproc"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var processors []*Processor
	for _, e := range entries {
		p, err := h.Processor(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // unbound since the folder was read
		}
		if err != nil {
			return nil, err
		}
		processors = append(processors, p)
	}
	if len(processors) == 0 {
		return nil, ErrNoProcessors
	}
	slices.SortFunc(processors, func(a, b *Processor) int { return number(a.Instance) - number(b.Instance) })
	return processors, nil
}

func number(instance string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(instance, "remoteproc"))
	if err != nil {
		return -1
	}
	return n
}

// Processor returns the processor with this instance name. If there is none the
// error wraps fs.ErrNotExist.
func (h Host) Processor(instance string) (*Processor, error) {
	if !isInstance(instance) {
		return nil, fmt.Errorf("%q is not a remote processor: %w", instance, fs.ErrNotExist)
	}
	p := &Processor{
		Instance: instance,
		dir:      h.path("sys/class/remoteproc/" + instance),
		debug:    h.path("sys/kernel/debug/remoteproc/" + instance),
		dev:      h.path("dev/" + instance),
	}
	name, err := p.read("name")
	if err != nil {
		return nil, err
	}
	p.Name = name
	node := filepath.Join(p.dir, "device/of_node")
	if b, err := os.ReadFile(filepath.Join(node, "compatible")); err == nil {
		p.Compatible = slices.DeleteFunc(strings.Split(string(b), "\x00"), func(s string) bool { return s == "" })
	}
	if b, err := os.ReadFile(filepath.Join(node, "name")); err == nil {
		p.Node = strings.TrimRight(string(b), "\x00")
	}
	if link, err := os.Readlink(node); err == nil {
		p.Unit = filepath.Base(link)
	}
	return p, nil
}

// State reads what the core of the processor with this instance name does now,
// without asking what else there is to know of it.
func (h Host) State(instance string) (State, error) {
	if !isInstance(instance) {
		return "", fmt.Errorf("%q is not a remote processor: %w", instance, fs.ErrNotExist)
	}
	return (&Processor{Instance: instance, dir: h.path("sys/class/remoteproc/" + instance)}).State()
}

func isInstance(name string) bool {
	return name != "" && !strings.ContainsAny(name, "/\x00") && name[0] != '.'
}

// Is reports whether name means this processor: its instance, its name attribute
// or its device-tree node, with or without the address.
func (p *Processor) Is(name string) bool {
	return name != "" && (name == p.Instance || name == p.Name || name == p.Node || name == p.Unit)
}

// String is the name for messages.
func (p *Processor) String() string {
	if p.Name == "" || p.Name == p.Instance {
		return p.Instance
	}
	return fmt.Sprintf("%s (%s)", p.Instance, p.Name)
}

// State reads what the core does now.
func (p *Processor) State() (State, error) {
	s, err := p.read("state")
	return State(s), err
}

// Watch is the state attribute, kept open to be looked at often: that takes no
// memory, so that it takes no garbage collection either.
type Watch struct {
	p   *Processor
	f   *os.File
	buf [64]byte
}

// Watch opens the state attribute.
func (p *Processor) Watch() (*Watch, error) {
	f, err := os.OpenFile(filepath.Join(p.dir, "state"), os.O_RDWR, 0)
	if err != nil {
		return nil, p.attributeError("open", "state", err)
	}
	return &Watch{p: p, f: f}, nil
}

// State reads what the core does now, with one system call. After the driver was
// unbound it is ENODEV.
func (w *Watch) State() (State, error) {
	n, err := 0, error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Pread(int(w.f.Fd()), w.buf[:], 0)
	}
	if err != nil {
		return "", w.p.attributeError("read", "state", err)
	}
	return State(bytes.TrimRight(w.buf[:n], "\n")), nil
}

// Close ends the watch.
func (w *Watch) Close() error { return w.f.Close() }

// Firmware reads the name of the firmware that start will load; "unknown" when
// attached to what a boot loader started.
func (p *Processor) Firmware() (string, error) { return p.read("firmware") }

// SetFirmware sets the name of the firmware that Start will load, relative to the
// firmware search path. The kernel takes any name, and misses the file only at
// start. A processor that is not offline is EBUSY.
func (p *Processor) SetFirmware(name string) error {
	err := p.write("firmware", name)
	// a signal that arrives while the driver's lock is taken shows as EINVAL here
	for try := 0; errors.Is(err, unix.EINVAL) && name != "" && try < 3; try++ {
		err = p.write("firmware", name)
	}
	return err
}

// Recovery reports whether the kernel restarts the core after a crash.
func (p *Processor) Recovery() (bool, error) {
	s, err := p.read("recovery")
	return s == "enabled", err
}

// SetRecovery says whether the kernel shall restart the core after a crash. With
// recovery a crash passes by in milliseconds, and firmware that always faults
// loops for ever; without, the core stays crashed.
func (p *Processor) SetRecovery(enabled bool) error {
	if enabled {
		return p.write("recovery", "enabled")
	}
	return p.write("recovery", "disabled")
}

// Recover restarts a crashed core once, with or without recovery. It reads the
// firmware file again.
func (p *Processor) Recover() error { return p.write("recovery", "recover") }

// Coredump reads the coredump attribute: disabled, enabled or inline.
func (p *Processor) Coredump() (string, error) { return p.read("coredump") }

// SetCoredump sets the coredump attribute; EBUSY while crashed.
func (p *Processor) SetCoredump(mode string) error { return p.write("coredump", mode) }

// NotRunningError reports a start that the kernel accepted, and after which the
// core does not run.
type NotRunningError struct{ State State }

func (e *NotRunningError) Error() string {
	return fmt.Sprintf("the kernel accepted the start, but the processor is %s", e.State)
}

// ErrRunning reports a start of a processor that is up already. The kernel since
// 5.19 would accept it, count it, and do nothing.
var ErrRunning = errors.New("the processor is running already")

// Start boots the firmware that was set, or attaches to a detached core, and reads
// the state back. It blocks until the driver is done. The errors are the driver's
// errno, ErrRunning, or a *NotRunningError. The caller holds the processor's lock:
// between reading and writing the state there is nothing that the kernel offers.
func (w *Watch) Start() error {
	before, err := w.State()
	if err != nil {
		return err
	}
	if before != Offline && before != Detached {
		return ErrRunning
	}
	if _, err := w.f.WriteAt([]byte("start"), 0); err != nil { // repeats on EINTR
		return w.p.attributeError(`write "start" to`, "state", err)
	}
	after, err := w.State()
	if err != nil {
		return err
	}
	if after != Running && after != Attached {
		return &NotRunningError{after}
	}
	return nil
}

// Start is Start of a Watch that is opened for it.
func (p *Processor) Start() error {
	w, err := p.Watch()
	if err != nil {
		return err
	}
	defer w.Close()
	return w.Start()
}

// ErrNotStopped reports a processor that is still up after all that can be done.
var ErrNotStopped = errors.New("the processor does not stop")

// maxStops bounds how many starts of others Stop undoes.
const maxStops = 16

// Stop brings the processor to offline, whatever it does now: a running core is
// stopped as often as it was started, a crashed one that the kernel refuses to
// stop (6.1, 6.12) is recovered first. Stopping what is offline is no error.
//
// The firmware file must still be there for a crashed core: recovery loads it.
func (p *Processor) Stop() error {
	var state State
	for range maxStops {
		var err, last error
		if state, err = p.State(); err != nil {
			return err
		}
		switch state {
		case Offline, Deleted, Detached:
			return nil
		case Crashed:
			// with recovery on, the kernel is about to restart it by itself
			if last = p.write("state", "stop"); errors.Is(last, unix.EINVAL) {
				if last = p.Recover(); last != nil {
					return fmt.Errorf("%w: recovering it from its crash: %w", ErrNotStopped, last)
				}
			}
		default:
			last = p.write("state", "stop")
		}
		if last != nil && !errors.Is(last, unix.EINVAL) {
			return fmt.Errorf("%w: %w", ErrNotStopped, last)
		}
	}
	return fmt.Errorf("%w: it is still %s", ErrNotStopped, state)
}

// Detach leaves an attached core running by itself.
func (p *Processor) Detach() error { return p.write("state", "detach") }

// Attribute errors name the attribute, not the path: it is the kernel that
// answers, not a file.
func (p *Processor) attributeError(op, name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("%s %s of %s: %w", op, name, p.Instance, err)
}

func (p *Processor) read(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return "", p.attributeError("read", name, err)
	}
	return strings.TrimRight(string(b), "\n"), nil
}

// write makes one write(2) of an attribute. EINTR is tried again: the driver's
// locks are interruptible, and the Go runtime's preemption signal interrupts.
func (p *Processor) write(name, value string) error {
	err := writeFile(filepath.Join(p.dir, name), value)
	if err != nil {
		return p.attributeError(fmt.Sprintf("write %q to", value), name, err)
	}
	return nil
}

// writeFile is os.WriteFile without O_CREATE and O_TRUNC: with them a missing
// attribute reads as EACCES.
func writeFile(name, value string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value) // repeats on EINTR
	if cerr := f.Close(); err == nil && !errors.Is(cerr, syscall.EINTR) {
		err = cerr
	}
	return err
}
