//go:build kernel

package mcu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/qemu"
)

const output = 0x10000 // offset where the program writes

// newCore returns a core whose program writes value to output and loops, or for 0
// takes a fault that it cannot handle.
func newCore(ctx context.Context, t *testing.T) (core *Core, load func(value uint32), word *uint32) {
	t.Helper()
	f, err := qemu.MemoryFile("test", Size)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	core = New(ctx, f, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		core.Close()
		f.Close()
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	load = func(value uint32) {
		words := []uint32{
			Base + 0x100000, Base + 8 + 1, // stack, reset
			0x49034802, 0xe7fe6001, 0, // ldr r0, =output; ldr r1, =value; str r1, [r0]; b .
			Base + output, value,
		}
		if value == 0 {
			words[2] = 0xdeffdeff // undefined, and the vector of the fault leads nowhere
		}
		for i, w := range words {
			binary.LittleEndian.PutUint32(memory[4*i:], w)
		}
	}
	return core, load, (*uint32)(unsafe.Pointer(&memory[output]))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestCore(t *testing.T) {
	core, load, word := newCore(t.Context(), t)
	for value := uint32(1); value < 4; value++ {
		load(value)
		begin := time.Now()
		if err := core.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the program does not run", func() bool { return atomic.LoadUint32(word) == value })
		t.Logf("ran after %v", time.Since(begin))
		if err := core.Release(t.Context()); err != nil {
			t.Fatalf("released twice: %v", err)
		}
		if core.Locked() {
			t.Error("locked")
		}
		core.Reset()
		core.Reset()
		load(99)
		time.Sleep(20 * time.Millisecond)
		if got := atomic.LoadUint32(word); got != value {
			t.Errorf("a core in reset wrote %d", got)
		}
	}
}

func TestLockup(t *testing.T) {
	core, load, _ := newCore(t.Context(), t)
	load(0)
	if err := core.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the core did not lock up", core.Locked)
	core.Reset()
	if core.Locked() {
		t.Error("locked after reset")
	}
}

func TestNothingIsLeft(t *testing.T) {
	children := func() int {
		tasks, err := filepath.Glob("/proc/self/task/*/children")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, task := range tasks {
			b, _ := os.ReadFile(task) // threads come and go
			var pid int
			for s := string(b); ; {
				if _, err := fmt.Sscan(s, &pid); err != nil {
					break
				}
				n++
				s = s[len(fmt.Sprint(pid))+1:]
			}
		}
		return n
	}
	ctx, cancel := context.WithCancel(t.Context())
	core, load, word := newCore(ctx, t)
	load(1)
	if err := core.Release(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the program does not run", func() bool { return atomic.LoadUint32(word) == 1 })
	if children() == 0 {
		t.Fatal("there is no process")
	}
	cancel()
	eventually(t, "processes are left after the context's end", func() bool { return children() == 0 })
	if err := core.Release(t.Context()); err == nil {
		core.Reset()
		if err := core.Release(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("released after the end: %v", err)
		}
	}
}
