package sysfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/mcu"
	"github.com/hybrid-containers/hybrid/sim/qemu"
)

const (
	// doorbell is where firmware for the virtual board tells of its crash: see
	// package bridge, which has the same map.
	doorbell = 0xf00200
	// firmwareSize is what is left for firmware before the registers of that map.
	firmwareSize = 0xf00000
	// watchInterval is how often the core is asked whether it has crashed.
	watchInterval = time.Millisecond
	// releaseTimeout is for a host that is much busier than any we know.
	releaseTimeout = 30 * time.Second
)

// runnable tells whether a core with the memories of p can be executed.
func runnable(p Processor) error {
	for _, r := range p.Memory {
		if r.Start < mcu.Base || r.Start+r.Size > mcu.Base+firmwareSize {
			return fmt.Errorf("its firmware cannot be run: memory %s is not at %#x to %#x, which is where the simulated core has its own", r.Name, mcu.Base, mcu.Base+firmwareSize)
		}
	}
	return nil
}

// machine executes a core's firmware.
type machine struct {
	file   *os.File
	window window
	core   *mcu.Core

	mu      sync.Mutex
	watch   context.CancelFunc // ends the goroutine that looks for a crash; nil in reset
	watcher sync.WaitGroup
}

// powerOn gives the core a machine, held in reset.
func (c *Core) powerOn() error {
	if err := qemu.Look(qemu.Binary, qemu.Binary); err != nil {
		return err
	}
	file, err := qemu.MemoryFile("memory of "+c.instance, mcu.Size)
	if err != nil {
		return err
	}
	b, err := unix.Mmap(int(file.Fd()), 0, mcu.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return errors.Join(fmt.Errorf("mapping the memory of %s: %w", c.instance, err), file.Close())
	}
	c.machine = &machine{file: file, window: b, core: mcu.New(context.Background(), file, slog.New(slog.DiscardHandler))}
	c.memory = c.machine.window
	return nil
}

func (m *machine) doorbell() *uint32 { return (*uint32)(unsafe.Pointer(&m.window[doorbell])) }

// release lets the core go, and reports when it crashes.
func (m *machine) release(c *Core) error {
	m.hold() // it may have crashed
	atomic.StoreUint32(m.doorbell(), 0)
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := m.core.Release(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	watch, stop := context.WithCancel(context.Background())
	m.watch = stop
	m.watcher.Go(func() {
		ticker := time.NewTicker(watchInterval)
		defer ticker.Stop()
		for {
			select {
			case <-watch.Done():
				return
			case <-ticker.C:
			}
			if atomic.LoadUint32(m.doorbell()) != 0 || m.core.Locked() {
				m.core.Reset() // a crashed core executes nothing more
				c.Crash(Watchdog)
				return
			}
		}
	})
	return nil
}

// hold stops the core.
func (m *machine) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watch != nil {
		m.watch()
		m.watcher.Wait()
		m.watch = nil
	}
	m.core.Reset()
}

// powerOff ends the machine, and with it what its memory held.
func (c *Core) powerOff() {
	m := c.machine
	m.hold()
	m.core.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory = pages{}
	_ = unix.Munmap(m.window)
	_ = m.file.Close()
}

// window is memory that is shared with the machine, from mcu.Base on. What is outside of
// it is not there.
type window []byte

func (w window) at(addr, n uint64) []byte {
	if addr < mcu.Base || addr-mcu.Base > uint64(len(w)) {
		return nil
	}
	b := w[addr-mcu.Base:]
	return b[:min(n, uint64(len(b)))]
}

func (w window) write(addr uint64, b []byte) { copy(w.at(addr, uint64(len(b))), b) }

func (w window) clear(addr, n uint64) { clear(w.at(addr, n)) }

func (w window) stringAt(addr, limit uint64) []byte {
	var s []byte
	for _, c := range w.at(addr, limit) {
		if c == 0 {
			break
		}
		s = append(s, c)
	}
	return s
}

func (w window) readAt(b []byte, addr uint64) {
	n := copy(b, w.at(addr, uint64(len(b))))
	clear(b[n:])
}

func (w window) copy() memory { return append(window(nil), w...) }
