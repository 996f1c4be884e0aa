//go:build kernel

package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs"
	"github.com/hybrid-containers/hybrid/sim/vm"
)

// world is a board on which commands are run. Folders of the host are at the same
// paths on it.
type world interface {
	// sys is the folder that holds /sys, /run and /lib/firmware: "" for /.
	sys() string
	// run runs a command and returns its exit code, -1 if a signal ended it.
	run(ctx context.Context, out, errOut io.Writer, args ...string) (int, error)
	close() error
}

// greeting is what hello_world prints first.
const greeting = "Hello World from qemu-virt (cortex-m4)"

// simulated is sim/sysfs on this machine: cores only pretend to run.
type simulated struct {
	dir    string
	server *sysfs.Server
	env    []string
}

// newSimulated serves a board with a processor for each node's name, as changed.
func newSimulated(dir string, change func(*sysfs.Config), nodes ...string) (*simulated, error) {
	b, err := board.Lookup("qemu-virt")
	if err != nil {
		return nil, err
	}
	var processors []sysfs.Processor
	for _, node := range nodes {
		processors = append(processors, sysfs.Processor{
			Name: "m4", NodeName: node, Compatible: []string{"st,stm32mp1-m4"}, Memory: b.Cores[0].Memory,
		})
	}
	config := sysfs.Config{
		Compatible: []string{"hybrid,qemu-virt", "linux,dummy-virt"},
		Model:      "hybrid virtual board",
		Processors: processors,
		Greeting:   greeting,
	}
	change(&config)
	server, err := sysfs.Mount(dir, config)
	if err != nil {
		return nil, err
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		return nil, err
	}
	return &simulated{dir, server, append(os.Environ(), "HYBRID_SYSROOT="+dir, "PATH="+bin+":"+os.Getenv("PATH"))}, nil
}

func (s *simulated) sys() string  { return s.dir }
func (s *simulated) close() error { return s.server.Unmount() }

func (s *simulated) run(ctx context.Context, out, errOut io.Writer, args ...string) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if path, err := exec.LookPath(filepath.Join("../../bin", args[0])); err == nil {
		cmd = exec.CommandContext(ctx, path, args[1:]...)
	}
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, out, errOut
	cmd.WaitDelay = 100 * time.Millisecond // a monitor with our output as its own keeps it open
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	case errors.Is(err, exec.ErrWaitDelay):
		return 0, nil
	}
	return 0, err
}

// virtual is Linux in QEMU beside a core that executes what it is given.
type virtual struct{ board *vm.VM }

func newVirtual(ctx context.Context, console io.Writer, folders ...string) (*virtual, error) {
	config := vm.Config{Console: console}
	bin, err := filepath.Abs("../../bin/linux_arm")
	if err != nil {
		return nil, err
	}
	config.GuestInit = filepath.Join(bin, "hybrid-sim-guest")
	config.Shares = append(config.Shares, vm.Share{Host: bin, Guest: "/usr/local/bin", ReadOnly: true, Constant: true})
	for _, f := range folders {
		config.Shares = append(config.Shares, vm.Share{Host: f})
	}
	b, err := vm.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	return &virtual{b}, nil
}

func (v *virtual) sys() string  { return "" }
func (v *virtual) close() error { return v.board.Close() }

func (v *virtual) run(ctx context.Context, out, errOut io.Writer, args ...string) (int, error) {
	cmd := v.board.Command(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, errOut
	err := cmd.Run()
	var exit *vm.ExitError
	if errors.As(err, &exit) {
		return exit.Code, nil
	}
	return 0, err
}

// output runs a command that must succeed.
func output(ctx context.Context, w world, args ...string) (string, error) {
	var out, errOut bytes.Buffer
	code, err := w.run(ctx, &out, &errOut, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%q: exit code %d: %s", args, code, errOut.String())
	}
	return out.String(), err
}
