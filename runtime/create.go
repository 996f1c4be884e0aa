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
	// Stdio gives our standard streams to the monitor, which else only a bundle's has.
	Stdio bool
	// ConsoleSocket is a Unix socket that is given the container's terminal, if the
	// bundle wants one.
	ConsoleSocket string
	// PIDFile is a file for the monitor's process number; empty is none.
	PIDFile string
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
	r.sweep()
	m, err := r.machine()
	if err != nil {
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
	s, err := r.settings(o, fw)
	if err != nil {
		return err
	}
	console, err := consoleOf(o, fw.Spec)
	if err != nil {
		return err
	}
	if console != nil {
		defer console.close()
	}
	owned, core, err := r.take(m, fw, id, s.attach)
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
		Coredump: s.coredump, MaxDumps: s.maxDumps, Heartbeat: s.heartbeat, RPMsg: s.attach != nil || fw.HasRPMsg(),
	}
	n, err := r.spawn(ctx, owned, config, streams{o.Stdio || o.Bundle != "", console})
	if err == nil && console != nil {
		if err = console.send(o.ConsoleSocket); err != nil {
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
	if err := n.commit(r, newRecord(id, fw, m, core, owned), o.PIDFile); err != nil {
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
	dir       string   // where its folder is now
	lock      *os.File // of the folder
	handshake *os.File
	cmd       *exec.Cmd
}

// streams says what the standard streams of the monitor are: ours, as the
// specification wants of a container's process, a terminal, or none.
type streams struct {
	inherit  bool
	terminal *terminal // nil is none
}

// spawn makes the folder and starts the monitor.
func (r *Runtime) spawn(ctx context.Context, owned *claim.Claim, config monitor.Config, io streams) (_ *newborn, err error) {
	n := &newborn{}
	if n.dir, n.lock, err = r.newFolder(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.discard()
		}
	}()
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
	n.cmd.ExtraFiles = []*os.File{owned.File(), theirs, starts} // ClaimFD, HandshakeFD, StartFD
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	switch {
	case io.terminal != nil:
		n.cmd.Stdin, n.cmd.Stdout, n.cmd.Stderr = io.terminal.slave, io.terminal.slave, io.terminal.slave
		n.cmd.SysProcAttr.Setctty = true // of descriptor 0
	case io.inherit:
		n.cmd.Stdin, n.cmd.Stdout, n.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	err = n.cmd.Start()
	// closed here, so that the handshake ends if the monitor does
	theirs.Close()
	starts.Close()
	if err != nil {
		return nil, fmt.Errorf("start the monitor: %w", err)
	}
	if err := n.greet(ctx, config); err != nil {
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

// commit writes the record, makes the container visible, and lets the monitor live
// without us. The PID file comes before, so that who sees the container finds it.
func (n *newborn) commit(r *Runtime, rec record, pidFile string) error {
	var err error
	if rec.Monitor, err = process.Of(n.cmd.Process.Pid); err != nil {
		return fmt.Errorf("the monitor: %w", err)
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.dir, recordFile), b, 0o600); err != nil {
		return err
	}
	if pidFile != "" {
		if err := writePID(pidFile, rec.Monitor.PID); err != nil {
			return err
		}
	}
	if err := r.show(n.dir, rec.ID); err != nil {
		if pidFile != "" {
			os.Remove(pidFile)
		}
		return err
	}
	n.lock.Close()
	if _, err := io.WriteString(n.handshake, monitor.Commit); err != nil {
		_ = r.remove(rec.ID)
		if pidFile != "" {
			os.Remove(pidFile)
		}
		return fmt.Errorf("the monitor: %w", err)
	}
	n.handshake.Close()
	return n.cmd.Process.Release()
}

// writePID writes a PID file in one step, without a newline, as runc does.
func writePID(name string, pid int) error {
	temporary := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%d", filepath.Base(name), os.Getpid()))
	if err := os.WriteFile(temporary, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("write the PID file: %w", err)
	}
	if err := os.Rename(temporary, name); err != nil {
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

// discard removes the folder.
func (n *newborn) discard() {
	if n.handshake != nil {
		n.handshake.Close()
	}
	if n.dir != "" {
		os.RemoveAll(n.dir)
		n.lock.Close()
	}
}
