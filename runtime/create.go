package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/runtime/bundle"
	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/monitor"
	"github.com/hybrid-containers/hybrid/runtime/process"
)

// CreateOptions says what to create. Exactly one of Firmware, Image and Bundle is
// given; with Attach it may be none.
type CreateOptions struct {
	Firmware string // an ELF file, or a folder with one
	Image    string // an image, as image.ParseSource understands it
	Bundle   string // an OCI bundle

	// Processor pins one of the processors that fit; empty is what the image says.
	Processor string
	// Attach takes over a core that a boot loader started, instead of booting one; of
	// the source only the target counts.
	Attach bool
	// OnStop is what becomes of such a core: OnStopDetach, or OnStopStop; empty is what
	// the source says.
	OnStop string
	// Coredump is a folder for dumps of the core's memory; empty is what the source says.
	Coredump string
	// Heartbeat is the time without output that counts as a crash; empty is what the
	// source says.
	Heartbeat string
	// Console is which of the firmware's outputs are the container's: all or trace;
	// empty is what the annotation hybrid.console says, or all.
	Console string
	// Stdio gives our standard streams to the monitor, which else only a bundle's has.
	Stdio bool
	// ConsoleSocket is a Unix socket that is given the container's terminal, if the
	// bundle wants one.
	ConsoleSocket string
	// PIDFile is a file for the monitor's process number; empty is none.
	PIDFile string
	// SystemdCgroup says that linux.cgroupsPath is SLICE:PREFIX:NAME.
	SystemdCgroup bool
	// PreserveFDs is how many of our descriptors, from 3 on, the monitor keeps open.
	PreserveFDs int
}

// Create makes a container: it claims a processor that fits, stages the firmware,
// and starts the monitor, which waits for Start. After an error nothing is left.
func (r *Runtime) Create(ctx context.Context, id string, o CreateOptions) (err error) {
	if err := checkID(id); err != nil {
		return err
	}
	if exists(r.dir(id)) { // asked again when it is made visible
		return &ExistsError{id}
	}
	preserved, err := preservedFiles(o.PreserveFDs) // before descriptors of our own
	if err != nil {
		return err
	}
	r.sweep()
	m, err := r.machine()
	if err != nil {
		if o.Bundle != "" && bundle.IsLinux(o.Bundle) { // which needs no processor
			err = ErrLinux
		}
		return err
	}
	fw, err := load(ctx, m, o)
	if err != nil {
		return err
	}
	defer fw.Close()
	if o.Processor != "" {
		fw.Target.Processor = o.Processor
	}
	around, err := surround(fw.Spec, o)
	if err != nil {
		return err
	}
	defer around.close()
	around.preserved = preserved
	s, err := r.settings(o, fw)
	if err != nil {
		return err
	}
	owned, core, err := r.take(m, fw, id, s)
	if err != nil {
		return err
	}
	release := func() { err = errors.Join(err, owned.Release()) }
	if s.attach == nil {
		if err := owned.Stage(fw.Content(), fw.Hex, fw.Quiet(core)); err != nil {
			release()
			return err
		}
	}
	config := monitor.Config{
		ID: id, Dir: r.dir(id), Sysroot: r.Host.Root, Processor: owned.Processor.Instance,
		Coredump: s.coredump, MaxDumps: s.maxDumps, Heartbeat: s.heartbeat, RPMsg: !s.traceOnly && (s.attach != nil || fw.HasRPMsg()),
	}
	rec := newRecord(id, fw, m, core, owned)
	rec.Cgroup, rec.Hooks = around.folders(), around.hooks
	n, err := r.spawn(ctx, owned, config, rec, around)
	if err == nil && around.terminal != nil {
		if err = around.terminal.send(o.ConsoleSocket); err != nil {
			n.kill()
			n.discard()
		}
	}
	if err != nil {
		release()
		return err
	}
	// from here on the monitor is the one who cleans up
	owned.Disown()
	if err := n.commit(ctx, rec, o.PIDFile); err != nil {
		n.abandon()
		r.sweep() // finds nothing, unless the monitor was killed
		return err
	}
	return nil
}

func load(ctx context.Context, m *machine, o CreateOptions) (*bundle.Firmware, error) {
	here := host{m, o.Processor}
	switch {
	case o.Firmware != "":
		return bundle.FromPath(o.Firmware)
	case o.Image != "":
		return bundle.FromImage(ctx, o.Image, here)
	case o.Bundle == "" && o.Attach:
		return bundle.Attached(), nil
	default:
		return bundle.FromBundle(o.Bundle, here)
	}
}

func newRecord(id string, fw *bundle.Firmware, m *machine, core board.Core, c *claim.Claim) record {
	version := fw.Version
	if version == "" {
		version = specs.Version
	}
	target := fw.Target.Or(image.Target{Board: m.identity.Name(), MCU: core.MCU})
	digest := ""
	if fw.Hex != "" && !c.Attached() {
		digest = "sha256:" + fw.Hex
	}
	return record{
		Version: version, ID: id, Bundle: fw.Bundle, Created: time.Now(), Annotations: fw.Annotations,
		Board: target.Board, MCU: target.MCU, Processor: c.Processor.Instance, Digest: digest,
	}
}

// newborn is a container whose monitor runs and that is not visible yet.
type newborn struct {
	r         *Runtime
	dir       string   // where its folder is now
	lock      *os.File // of the folder
	handshake *os.File
	cmd       *exec.Cmd
}

// spawn makes the folder and starts the monitor in its surroundings.
func (r *Runtime) spawn(ctx context.Context, owned *claim.Claim, config monitor.Config, rec record, around *surroundings) (_ *newborn, err error) {
	n := &newborn{r: r}
	if n.dir, n.lock, err = r.newFolder(rec.ID); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.discard()
		}
	}()
	if around.cgroup != nil {
		// before it is made: whoever finds the folder undoes what is in the record
		if err := writeRecord(n.dir, rec); err != nil {
			return nil, err
		}
		if err := around.make(); err != nil {
			return nil, err
		}
	}
	starts, err := monitor.Listen(n.dir)
	if err != nil {
		return nil, err
	}
	closeOnExec()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		starts.Close()
		return nil, os.NewSyscallError("socketpair", err)
	}
	n.handshake = os.NewFile(uintptr(pair[0]), "handshake")
	theirs := os.NewFile(uintptr(pair[1]), "handshake")

	n.cmd = exec.Command("/proc/self/exe")
	n.cmd.Args = []string{monitor.Argv0, config.ID}
	n.cmd.Env = []string{"GOMAXPROCS=1", "GOGC=20", "GOTRACEBACK=none"}
	n.cmd.Dir = "/"
	n.cmd.ExtraFiles = append([]*os.File{owned.File(), theirs, starts}, around.preserved...) // ClaimFD, HandshakeFD, StartFD
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	switch {
	case around.terminal != nil:
		n.cmd.Stdin, n.cmd.Stdout, n.cmd.Stderr = around.terminal.slave, around.terminal.slave, around.terminal.slave
		n.cmd.SysProcAttr.Setctty = true // of descriptor 0
	case around.inherit:
		n.cmd.Stdin, n.cmd.Stdout, n.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	err = around.namespaces.Start(n.cmd)
	// closed here, so that the handshake ends if the monitor does
	theirs.Close()
	starts.Close()
	if err != nil {
		return nil, fmt.Errorf("start the monitor: %w", err)
	}
	// it does nothing before it is greeted
	if err = around.enter(n.cmd.Process.Pid); err == nil {
		err = n.greet(ctx, config)
	}
	if err != nil {
		n.kill()
		return nil, err
	}
	return n, nil
}

// kill ends a monitor that has not taken over.
func (n *newborn) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// closeOnExec keeps from the monitor, which lives on, what our caller left open for
// us. Descriptors of our own are not inherited anyway.
func closeOnExec() {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // without /proc there is no monitor either
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// greet sends the configuration and waits for the monitor to be ready.
func (n *newborn) greet(ctx context.Context, config monitor.Config) error {
	stop := context.AfterFunc(ctx, func() { _ = n.cmd.Process.Kill() })
	defer stop()
	if err := json.NewEncoder(n.handshake).Encode(config); err != nil {
		return fmt.Errorf("start the monitor: %w", err)
	}
	answer, err := bufio.NewReader(n.handshake).ReadString('\n')
	switch {
	case answer == monitor.Ready:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case answer != "":
		return errors.New(strings.TrimSpace(answer))
	}
	return fmt.Errorf("the monitor ended before it was ready: %w", err)
}

// commit runs the hooks of create, makes the container visible, and lets the monitor
// live without us. The PID file comes before, so that who sees the container finds it.
func (n *newborn) commit(ctx context.Context, rec record, pidFile string) error {
	var err error
	if rec.Monitor, err = process.Of(n.cmd.Process.Pid); err != nil {
		return fmt.Errorf("the monitor: %w", err)
	}
	if err := writeRecord(n.dir, rec); err != nil {
		return err
	}
	c := &container{record: rec, dir: n.dir, status: specs.StateCreating}
	if err := c.createHooks(ctx); err != nil {
		return err
	}
	if pidFile != "" {
		if err := writePID(pidFile, rec.Monitor.PID); err != nil {
			return err
		}
	}
	err = n.r.show(n.dir, rec.ID)
	if err == nil {
		n.dir = n.r.dir(rec.ID)
		if _, err = io.WriteString(n.handshake, monitor.Commit); err != nil {
			err = fmt.Errorf("the monitor: %w", err)
		}
	}
	if err != nil {
		if pidFile != "" {
			os.Remove(pidFile)
		}
		return err
	}
	n.lock.Close()
	n.handshake.Close()
	return n.cmd.Process.Release()
}

// writePID writes a PID file in one step, without a newline, as runc does. The file
// beside it is new, as anybody may have put a link there: PID files are in /tmp, too.
func writePID(name string, pid int) error {
	temporary := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%d", filepath.Base(name), os.Getpid()))
	_ = os.Remove(temporary)
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write the PID file: %w", err)
	}
	_, err = f.WriteString(strconv.Itoa(pid))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		os.Remove(temporary)
		return fmt.Errorf("write the PID file: %w", err)
	}
	return nil
}

// abandon makes the monitor undo everything, and waits until it has.
func (n *newborn) abandon() {
	n.handshake.Close()
	_ = n.cmd.Wait()
	n.discard()
}

// discard removes the folder, and what is written in it.
func (n *newborn) discard() {
	if n.handshake != nil {
		n.handshake.Close()
	}
	if n.dir == "" {
		return
	}
	defer n.lock.Close()
	if !strings.HasPrefix(filepath.Base(n.dir), makingPrefix) { // it was visible for a moment
		_ = n.r.remove(filepath.Base(n.dir))
		return
	}
	_ = n.r.dispose(n.dir, cgroupTimeout)
}

// preservedFiles are the n descriptors from 3 on that our caller left open for the
// container. One that is closed on exec is not our caller's.
func preservedFiles(n int) ([]*os.File, error) {
	var files []*os.File
	for fd := 3; fd-3 < n; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC != 0 {
			err = unix.EBADF
		}
		if err != nil {
			return nil, fmt.Errorf("descriptor %d of --preserve-fds %d: %w", fd, n, err)
		}
		files = append(files, os.NewFile(uintptr(fd), "preserved"))
	}
	return files, nil
}
