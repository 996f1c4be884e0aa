// Package bridge is the glue of the virtual board's chip: the registers through
// which Linux holds the core in reset, starts it, and exchanges interrupts with it.
//
// Linux and the core run in processes of their own on the same 16 MiB of memory, at
// 0x60000000 for both. Registers are words in that memory which the bridge looks at
// again and again, for a write to memory tells nobody. The map, from 0x60000000:
//
//	000000  1 MiB of RAM for firmware
//	100000  rpmsg: vrings and buffers (see the device tree)
//	f00000  RESET    bit 0: Linux asks for reset; cleared when the core is held (the
//	                 driver's reset line, active high)
//	f00100  TZ       unused words of the STM32MP1's system configuration:
//	f00104  HOLDBOOT what the driver writes at start, stop and reboot
//	f00108  PDDS     bit 0: the core is not allowed to run (the driver clears it to
//	                 start, and sets it a moment after the reset to stop)
//	f0010c  STATE    of the core, for a core which a boot loader started: 2 is running
//	f00110  TABLE    address of such a core's resource table
//	f00200  CRASH    the core writes anything but 0: its watchdog has bitten
//	f01000  IPCC     the STM32MP1's mailbox of six channels (RM0436, chapter 14)
//
// Interrupts of Linux, as shared peripheral interrupts: 100 watchdog (edge), 101
// mailbox received, 102 mailbox free (levels).
package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
	"unsafe"
)

// Offsets of the registers in the shared memory.
const (
	regReset    = 0xf00000
	regPDDS     = 0xf00108
	regState    = 0xf0010c
	regTable    = 0xf00110
	regCrash    = 0xf00200
	regMailbox  = 0xf01000
	mailboxChan = 6
)

// Registers of the mailbox; processor 0 is Linux, 1 the core, whose own lie 0x10
// further.
const (
	mailboxCR   = 0x0   // bit 0: received interrupt on; bit 16: free interrupt on
	mailboxMR   = 0x4   // masks, 15:0 received, 31:16 free
	mailboxSCR  = 0x8   // write: 31:16 occupies our channels, 15:0 frees the other's
	mailboxSR   = 0xc   // our channels that are occupied
	mailboxCFG  = 0x3f0 // number of channels
	mailboxVER  = 0x3f4
	proc1       = 0x10
	chShutdown  = 1 << 2 // Linux wants the core to stop
	ackPatience = 250 * time.Millisecond
)

// The interrupts that Linux gets.
const (
	IRQWatchdog = 100
	IRQReceived = 101
	IRQFree     = 102
)

// Core is the core's reset line.
type Core interface {
	Release(context.Context) error
	Reset()
	Locked() bool // it executes nothing any more, by its own fault
}

// Interrupts sets the level of an interrupt of Linux.
type Interrupts interface {
	Set(irq int, level bool) error
}

// Bridge moves signals between Linux and the core.
type Bridge struct {
	memory []byte
	core   Core
	irqs   Interrupts
	log    *slog.Logger

	running  bool
	stopping time.Time // when a reset came before PDDS was set; zero once it is
	shutdown time.Time // when Linux asked the core to stop; zero if it did not
	levels   map[int]bool
}

// New returns a bridge on the shared memory, which it initialises.
func New(memory []byte, core Core, irqs Interrupts, log *slog.Logger) *Bridge {
	b := &Bridge{memory: memory, core: core, irqs: irqs, log: log, levels: map[int]bool{}}
	atomic.StoreUint32(b.reg(regPDDS), 1)
	atomic.StoreUint32(b.reg(regMailbox+mailboxCFG), mailboxChan)
	atomic.StoreUint32(b.reg(regMailbox+mailboxVER), 0x10)
	return b
}

// How often the registers are looked at. A crash should reach Linux within a
// millisecond; something that has just happened is mostly followed by more.
const (
	busyInterval = 100 * time.Microsecond
	idleInterval = 500 * time.Microsecond
	busyFor      = 20 * time.Millisecond
)

// Run moves signals until ctx ends, and then returns nil; or until the core or the
// interrupts fail.
func (b *Bridge) Run(ctx context.Context) error {
	var busyUntil time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now := time.Now()
		active, err := b.step(ctx, now)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("bridge: %w", err)
		}
		if active {
			busyUntil = now.Add(busyFor)
		}
		if now.Before(busyUntil) {
			timer.Reset(busyInterval)
		} else {
			timer.Reset(idleInterval)
		}
	}
}

func (b *Bridge) reg(offset int) *uint32 { return (*uint32)(unsafe.Pointer(&b.memory[offset])) }

func (b *Bridge) load(offset int) uint32 { return atomic.LoadUint32(b.reg(offset)) }

// stopGrace is how long after a reset PDDS may still be clear. The driver's stop
// resets the core and then sets PDDS: between the two the core must not be released
// once more, with the old firmware. A driver that stops and starts faster than we
// look shows no PDDS at all, and has its core released this much later.
const stopGrace = 20 * time.Millisecond

// step looks at every register once, and reports whether anything happened.
func (b *Bridge) step(ctx context.Context, now time.Time) (active bool, err error) {
	if b.load(regReset)&1 != 0 {
		active = true
		b.hold()
		b.stopping = now
		atomic.StoreUint32(b.reg(regReset), 0)
		b.log.Debug("core held in reset")
	}
	allowed := b.load(regPDDS)&1 == 0
	if !allowed {
		b.stopping = time.Time{}
		if b.running {
			active = true
			b.hold()
		}
		b.answer()
	}
	if allowed && !b.running && !b.shutdown.IsZero() {
		// Linux has asked for the end of what we were too slow to release, or of what ran
		// before: in either case nothing runs, and the next firmware must not be told
		active = true
		b.answer()
		b.stopping = now
	}
	if allowed && !b.running && now.Sub(b.stopping) > stopGrace {
		active = true
		atomic.StoreUint32(b.reg(regCrash), 0)
		if err := b.core.Release(ctx); err != nil {
			return active, err
		}
		b.running = true
		b.log.Debug("core released", "took", time.Since(now))
	}
	crash := atomic.SwapUint32(b.reg(regCrash), 0)
	if b.running && crash == 0 && b.core.Locked() {
		crash = 1
		b.log.Debug("core locked up")
	}
	if crash != 0 && b.running {
		active = true
		for _, level := range []bool{true, false} {
			if err := b.irqs.Set(IRQWatchdog, level); err != nil {
				return active, err
			}
		}
		b.log.Debug("core crashed", "word", crash, "interrupt", time.Since(now))
		// A crashed core executes nothing more until Linux releases it again. This takes
		// longer than the interrupt, and Linux's answer to that cannot overtake it.
		b.core.Reset()
	}
	moved := b.mailbox(now)
	changed, err := b.interrupts()
	return active || moved || changed, err
}

// hold stops the core.
func (b *Bridge) hold() {
	b.core.Reset()
	b.running = false
}

// answer gives Linux the answer of a core that executes nothing to its request to stop,
// if there is one.
func (b *Bridge) answer() {
	if !b.shutdown.IsZero() {
		b.finishShutdown()
	}
}

// mailbox applies what either side has written, and reports whether anything was.
func (b *Bridge) mailbox(now time.Time) (active bool) {
	for proc := range 2 {
		own, other := regMailbox+proc1*proc, regMailbox+proc1*(1-proc)
		v := atomic.SwapUint32(b.reg(own+mailboxSCR), 0)
		if v == 0 {
			continue
		}
		active = true
		if proc == 0 && v&(chShutdown<<16) != 0 {
			b.shutdown = now
		}
		if proc == 1 && v&chShutdown != 0 && !b.shutdown.IsZero() {
			b.log.Debug("shutdown acknowledged by firmware", "after", now.Sub(b.shutdown))
			v &^= chShutdown
			b.finishShutdown()
		}
		atomic.OrUint32(b.reg(own+mailboxSR), v>>16)
		atomic.AndUint32(b.reg(other+mailboxSR), ^(v & 0xffff))
		b.log.Debug("mailbox", "processor", proc, "value", fmt.Sprintf("%#x", v))
	}
	if !b.shutdown.IsZero() && now.Sub(b.shutdown) > ackPatience {
		active = true
		b.log.Debug("shutdown not acknowledged by firmware")
		b.finishShutdown()
	}
	return active
}

// finishShutdown gives Linux its answer only once the core executes nothing more:
// else a core that still runs would race with the next firmware being loaded.
func (b *Bridge) finishShutdown() {
	b.core.Reset()
	b.shutdown = time.Time{}
	atomic.AndUint32(b.reg(regMailbox+mailboxSR), ^uint32(chShutdown))
}

// interrupts computes the levels of the mailbox's lines to Linux, and reports whether
// any has changed.
func (b *Bridge) interrupts() (changed bool, err error) {
	control, mask := b.load(regMailbox+mailboxCR), b.load(regMailbox+mailboxMR)
	received := b.load(regMailbox+proc1+mailboxSR) &^ mask & 0xffff
	free := ^b.load(regMailbox+mailboxSR) &^ (mask >> 16) & (1<<mailboxChan - 1)
	for _, line := range []struct {
		irq   int
		level bool
	}{
		{IRQReceived, control&1 != 0 && received != 0},
		{IRQFree, control&(1<<16) != 0 && free != 0},
	} {
		if b.levels[line.irq] == line.level {
			continue
		}
		if err := b.irqs.Set(line.irq, line.level); err != nil {
			return changed, err
		}
		b.levels[line.irq] = line.level
		changed = true
	}
	return changed, nil
}
