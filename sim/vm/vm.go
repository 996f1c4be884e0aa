// Package vm is the virtual board: Linux (Debian's armhf kernel with the mainline
// drivers of the STM32MP1) in one QEMU, wired to a Cortex-M core in another. What
// hybrid does on a chip it can do there: load firmware with remoteproc and watch it
// run.
//
// Commands run in that Linux with (*VM).Command, much as with os/exec.
package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/mcu"
	"github.com/hybrid-containers/hybrid/sim/qemu"
	"github.com/hybrid-containers/hybrid/sim/vm/bridge"
	"github.com/hybrid-containers/hybrid/sim/vm/debian"
	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// Share is a host folder that the board sees.
type Share struct {
	Host     string // folder on the host
	Guest    string // absolute path on the board; empty: the same as on the host
	ReadOnly bool
	// Constant, in addition to ReadOnly, promises that the host does not change
	// anything in it while the board runs. The board then keeps what it has read, and
	// starts a program of some megabytes five times as fast.
	Constant bool
}

// Config says how to start a board. The zero value is a board without shares.
type Config struct {
	Shares []Share
	// GuestInit is the program hybrid-sim-guest for linux/arm; empty: found beside
	// the executable, as `make build` leaves it.
	GuestInit string
	// Booted is the name of a firmware file which a boot loader has started before
	// Linux, which then finds the core detached; empty: the core is off.
	Booted string
	// Kernel is the version of Linux, as in 6.12; empty: see debian.LookupKernel.
	Kernel string
	// Cache is the folder for downloads; empty: debian.Cache.
	Cache string
	// Console gets the kernel's console, if not nil, and then all messages.
	Console io.Writer
	// Progress gets a line for each step that takes long, if not nil.
	Progress io.Writer
	// Log gets what the bridge does, at debug level, if not nil.
	Log *slog.Logger
}

// bootTimeout is for a machine that is much slower or busier than any we know; a
// boot takes two seconds.
const bootTimeout = 2 * time.Minute

// VM is a board that runs.
type VM struct {
	cancel  context.CancelCauseFunc
	ctx     context.Context
	work    sync.WaitGroup // goroutines of ours
	cleanup []func()       // in reverse order
	console *console
	qemu    *qemu.Process
	session *session
	closed  sync.Once
}

// Start starts a board and waits until it runs commands. When ctx ends the board is
// lost, but Close is still needed.
func Start(ctx context.Context, cfg Config) (_ *VM, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	shares, err := resolve(cfg.Shares)
	if err != nil {
		return nil, err
	}
	if err := Missing(); err != nil {
		return nil, err
	}
	init, err := guestInit(cfg.GuestInit)
	if err != nil {
		return nil, err
	}
	if cfg.Cache == "" {
		if cfg.Cache, err = debian.Cache(); err != nil {
			return nil, err
		}
	}
	kernel, err := debian.LookupKernel(cfg.Kernel)
	if err != nil {
		return nil, err
	}
	files, err := debian.Get(ctx, cfg.Cache, kernel, cfg.Progress)
	if err != nil {
		return nil, fmt.Errorf("virtual board: %w", err)
	}

	v := &VM{}
	v.ctx, v.cancel = context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			v.stop()
			if ctx.Err() != nil {
				err = context.Cause(ctx) // whatever it broke
			} else if lines := v.consoleTail(); lines != "" {
				err = fmt.Errorf("%w; the console: %s", err, lines)
			}
			err = fmt.Errorf("virtual board: %w", err)
		}
	}()
	if err := v.assemble(cfg, shares, files, init); err != nil {
		return nil, err
	}
	boot, cancel := context.WithTimeoutCause(v.ctx, bootTimeout, fmt.Errorf("Linux did not come up within %v", bootTimeout))
	defer cancel()
	if err := v.session.open(boot, shares); err != nil {
		return nil, err
	}
	return v, nil
}

// assemble builds the board's parts and powers it on.
func (v *VM) assemble(cfg Config, shares []Share, files *debian.Files, init string) error {
	memory, err := qemu.MemoryFile("shared memory", mcu.Size)
	if err != nil {
		return err
	}
	v.onStop(func() { memory.Close() })
	window, err := unix.Mmap(int(memory.Fd()), 0, mcu.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping the shared memory: %w", err)
	}
	v.onStop(func() { _ = unix.Munmap(window) })
	core := mcu.New(v.ctx, memory, cfg.Log)
	v.onStop(core.Close)
	v.onStop(v.work.Wait) // the bridge uses the memory and the core until it ends

	m, err := newMachine(v.ctx, shares, files, init, cfg.Console != nil)
	if err != nil {
		return err
	}
	defer m.closeTheirs()
	m.memory = memory
	v.onStop(m.closeOurs)

	v.console = &console{to: cfg.Console}
	v.work.Go(func() { _, _ = io.Copy(v.console, m.console) })
	if v.qemu, err = m.start(v.ctx); err != nil {
		return err
	}
	v.onStop(v.qemu.Close)
	irqs, err := newInterrupts(v.ctx, v.qemu.Monitor, m.qtest)
	if err != nil {
		return err
	}
	b := bridge.New(window, core, irqs, cfg.Log)
	if cfg.Booted != "" {
		firmware, err := os.ReadFile(cfg.Booted)
		if err != nil {
			return fmt.Errorf("firmware of the boot loader: %w", err)
		}
		if err := b.Boot(firmware); err != nil {
			return err
		}
	}
	v.session = newSession(m.commands)
	v.work.Go(func() {
		if err := b.Run(v.ctx); err != nil {
			v.cancel(err)
		}
	})
	v.work.Go(func() { v.session.serve() })
	v.work.Go(func() {
		select {
		case <-v.qemu.Done():
			v.cancel(v.qemu.Err())
		case <-v.ctx.Done():
		}
		v.session.hangUp(context.Cause(v.ctx))
	})
	return nil
}

func (v *VM) onStop(f func()) { v.cleanup = append(v.cleanup, f) }

// ErrClosed reports a board that was closed.
var ErrClosed = errors.New("the virtual board is closed")

// Close flushes shared folders, stops the board and removes everything of it. What
// still runs on it fails. It may be called more than once.
func (v *VM) Close() error {
	var err error
	v.closed.Do(func() {
		if v.ctx.Err() == nil {
			// a guest that hangs has nothing to flush any more
			ctx, cancel := context.WithTimeoutCause(v.ctx, 5*time.Second, errors.New("flushing shared folders took too long"))
			err = v.session.quit(ctx)
			cancel()
		} else if cause := context.Cause(v.ctx); !errors.Is(cause, context.Canceled) {
			err = cause
		}
		v.stop()
	})
	return err
}

// stop ends everything that was started, in the order that each needs.
func (v *VM) stop() {
	v.cancel(ErrClosed)
	if v.session != nil {
		v.session.hangUp(ErrClosed)
	}
	for i := len(v.cleanup) - 1; i >= 0; i-- {
		v.cleanup[i]()
	}
	v.cleanup = nil
}

// Missing reports a program that a board needs and the machine does not have, as a
// *qemu.MissingError.
func Missing() error {
	if err := qemu.Look(qemu.Binary, qemu.Binary); err != nil {
		return err
	}
	return qemu.Look("dtc", "device-tree-compiler")
}

// resolve completes and checks shares.
func resolve(shares []Share) ([]Share, error) {
	if len(shares) > maxShares {
		return nil, fmt.Errorf("%d shared folders, at most %d are possible", len(shares), maxShares)
	}
	var out []Share
	for _, s := range shares {
		host, err := filepath.Abs(s.Host)
		if err != nil {
			return nil, fmt.Errorf("shared folder %s: %w", s.Host, err)
		}
		info, err := os.Stat(host)
		if err != nil {
			return nil, fmt.Errorf("shared folder: %w", err)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("shared folder: %s is not a folder", host)
		}
		if s.Guest == "" {
			s.Guest = host
		}
		if !filepath.IsAbs(s.Guest) || filepath.Clean(s.Guest) == "/" {
			return nil, fmt.Errorf("shared folder %s: %q is no place for it on the board, which must be an absolute path below /", host, s.Guest)
		}
		out = append(out, Share{Host: host, Guest: filepath.Clean(s.Guest), ReadOnly: s.ReadOnly || s.Constant, Constant: s.Constant})
	}
	return out, nil
}

// guestInit finds the guest's init.
func guestInit(name string) (string, error) {
	candidates := []string{name}
	if name == "" {
		exe, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("virtual board: %w", err)
		}
		dir := filepath.Dir(exe)
		candidates = []string{filepath.Join(dir, "hybrid-sim-guest.arm"), filepath.Join(dir, "linux_arm", "hybrid-sim-guest")}
	}
	for _, c := range candidates {
		if info, err := os.Stat(c); err == nil && info.Mode().IsRegular() {
			return c, nil
		}
	}
	return "", fmt.Errorf("virtual board: its init is missing: %s (make build)", strings.Join(candidates, ", "))
}

// greeting is what the guest is told.
func greeting(shares []Share) wire.Greeting {
	g := wire.Greeting{Time: time.Now()}
	for i, s := range shares {
		g.Shares = append(g.Shares, wire.Share{Tag: shareTag(i), Dir: s.Guest, ReadOnly: s.ReadOnly, Constant: s.Constant})
	}
	return g
}

func (v *VM) consoleTail() string {
	if v.console == nil {
		return ""
	}
	return v.console.tail()
}

// console passes the kernel's console on, and remembers its end for errors.
type console struct {
	mu   sync.Mutex
	to   io.Writer
	last []byte
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.to != nil {
		_, _ = c.to.Write(p)
	}
	c.last = append(c.last, p...)
	if over := len(c.last) - 8192; over > 0 {
		c.last = c.last[over:]
	}
	return len(p), nil
}

// tail is why the kernel gave up, or else its last lines as one.
func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.FieldsFunc(string(c.last), func(r rune) bool { return r == '\n' || r == '\r' })
	for _, line := range lines {
		if strings.Contains(line, "Kernel panic") {
			return line
		}
	}
	return strings.Join(lines[max(0, len(lines)-4):], "; ")
}
