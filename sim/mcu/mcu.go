// Package mcu simulates one Cortex-M core: QEMU executes it, on memory that is
// shared with whoever plays the rest of the chip.
package mcu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hybrid-containers/hybrid/sim/qemu"
)

// Base is the first address of the shared memory, as the core sees it. The core
// takes stack pointer and reset address from there.
const Base = 0x60000000

// Size of the shared memory in bytes: QEMU's mps2-an500 has exactly this.
const Size = 16 << 20

// Core is a core that is held in reset until Release.
//
// A QEMU process takes tens of milliseconds to start, so one is always kept ready,
// stopped: to release the core is to let the spare one run, and to reset it is to
// kill the running one. Memory is not touched by either.
type Core struct {
	memory *os.File
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	spares chan *qemu.Process
	failed error // why there will be no more spares, once spares is closed
	warmer sync.WaitGroup

	mu      sync.Mutex
	running *qemu.Process
}

// New returns a core on memory, a file of Size bytes which must stay open until
// Close. When ctx ends the core stops, but Close is still needed.
func New(ctx context.Context, memory *os.File, log *slog.Logger) *Core {
	c := &Core{memory: memory, log: log, spares: make(chan *qemu.Process)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.warmer.Go(c.warm)
	return c
}

// warm keeps one process ready until the context ends.
func (c *Core) warm() {
	defer close(c.spares)
	for {
		p, err := start(c.ctx, c.memory)
		if err != nil {
			c.failed = err
			return
		}
		select {
		case c.spares <- p:
		case <-p.Done():
			if c.ctx.Err() != nil {
				return
			}
			c.log.Warn("spare core ended", "reason", p.Err())
			select { // whatever killed it, do not spin
			case <-time.After(time.Second):
			case <-c.ctx.Done():
			}
		}
	}
}

func start(ctx context.Context, memory *os.File) (*qemu.Process, error) {
	return qemu.Start(ctx, []string{
		// The AN500 is a Cortex-M7, which executes all a Cortex-M4 does. Its 16 MiB of
		// PSRAM are at Base, and can be a file.
		"-machine", "mps2-an500,memory-backend=memory", "-m", "16M",
		"-object", "memory-backend-file,id=memory,size=16M,share=on,mem-path=" + qemu.Path(0),
		"-global", fmt.Sprintf("armv7m.init-nsvtor=%#x", Base),
		"-serial", "none", "-S",
	}, memory)
}

// Release takes the core out of reset. A core that runs is left alone.
func (c *Core) Release(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		return nil
	}
	select {
	case p, ok := <-c.spares:
		if !ok {
			return fmt.Errorf("core: %w", c.failed)
		}
		// the reset reads the vectors again: when the spare started there were none
		err := p.ExecuteUntil(ctx, "RESET", "system_reset")
		if err == nil {
			_, err = p.Execute(ctx, "cont", nil)
			if errors.Is(err, qemu.ErrEnded) {
				err = nil // locked up before QEMU could answer
			}
		}
		if err != nil {
			p.Close()
			return fmt.Errorf("core: %w", err)
		}
		c.running = p
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reset holds the core in reset: it executes nothing more. A core in reset is left
// alone.
func (c *Core) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		c.running.Close()
		c.running = nil
	}
}

// Locked reports whether a released core executes nothing any more: it took a fault
// that it could not handle (Armv7-M calls it lockup), on which QEMU ends.
func (c *Core) Locked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return false
	}
	select {
	case <-c.running.Done():
		return true
	default:
		return false
	}
}

// Close ends all processes, and waits for them.
func (c *Core) Close() {
	c.cancel()
	c.Reset()
	c.warmer.Wait()
}
