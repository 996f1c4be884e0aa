package bridge

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// chip is a bridge whose core and interrupts write down what happens to them.
type chip struct {
	*Bridge
	events []string
	locked bool
	fail   error
	now    time.Time
}

func newChip(t *testing.T) *chip {
	t.Helper()
	c := &chip{now: time.Unix(1000, 0)}
	c.Bridge = New(make([]byte, 16<<20), c, irqs{c}, slog.New(slog.DiscardHandler))
	return c
}

func (c *chip) Release(context.Context) error {
	c.events = append(c.events, "release")
	return c.fail
}

func (c *chip) Reset() {
	c.events = append(c.events, "reset")
	c.locked = false
}

func (c *chip) Locked() bool { return c.locked }

type irqs struct{ c *chip }

func (i irqs) Set(irq int, level bool) error {
	i.c.events = append(i.c.events, fmt.Sprintf("irq %d %v", irq, level))
	return nil
}

func (c *chip) store(offset int, v uint32) { atomic.StoreUint32(c.reg(offset), v) }

// expect steps the bridge once and compares what happened.
func (c *chip) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	c.events = nil
	c.now = c.now.Add(time.Millisecond)
	active, err := c.step(t.Context(), c.now)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !slices.Equal(c.events, want) {
		t.Errorf("%s: %q, want %q", what, c.events, want)
	}
	if len(want) > 0 && !active {
		t.Errorf("%s: the bridge says that nothing happened", what)
	}
}

func TestReset(t *testing.T) {
	c := newChip(t)
	c.expect(t, "power on")
	c.store(regPDDS, 0)
	c.expect(t, "start", "release")
	c.expect(t, "running")
	c.store(regPDDS, 1)
	c.store(regReset, 1)
	c.expect(t, "stop", "reset")
	if c.load(regReset) != 0 {
		t.Error("the reset is not acknowledged")
	}
	c.expect(t, "stopped")
	c.store(regPDDS, 0)
	c.expect(t, "start again", "release")
}

// The driver resets the core a moment before it sets PDDS.
func TestResetBeforePDDS(t *testing.T) {
	c := newChip(t)
	c.store(regPDDS, 0)
	c.expect(t, "start", "release")
	c.store(regReset, 1)
	c.expect(t, "reset", "reset")
	c.expect(t, "a moment later")
	c.store(regPDDS, 1)
	c.expect(t, "stopped")
	c.store(regPDDS, 0)
	c.expect(t, "start again", "release")

	// stopped and started between two looks: nobody saw PDDS
	c.store(regReset, 1)
	c.expect(t, "reset", "reset")
	c.now = c.now.Add(stopGrace)
	c.expect(t, "started", "release")

	c.store(regPDDS, 1)
	c.expect(t, "a core that must not run is held", "reset")
}

func TestCrash(t *testing.T) {
	for name, crash := range map[string]func(*chip){
		"doorbell": func(c *chip) { c.store(regCrash, 5) },
		"lockup":   func(c *chip) { c.locked = true },
	} {
		c := newChip(t)
		c.store(regPDDS, 0)
		c.expect(t, name+": start", "release")
		crash(c)
		c.expect(t, name, "irq 100 true", "irq 100 false", "reset")
		c.expect(t, name+": crashed once")
		// recovery: Linux resets, loads and starts
		c.store(regPDDS, 1)
		c.store(regReset, 1)
		c.expect(t, name+": recovery", "reset")
		c.store(regPDDS, 0)
		c.expect(t, name+": start again", "release")
	}
}

func TestCrashOfNobody(t *testing.T) {
	c := newChip(t)
	c.store(regCrash, 1)
	c.expect(t, "doorbell of a core in reset")
	c.store(regPDDS, 0)
	c.store(regCrash, 1)
	c.expect(t, "doorbell from before the start", "release")
}

func TestReleaseFails(t *testing.T) {
	c := newChip(t)
	c.fail = errors.New("no core")
	c.store(regPDDS, 0)
	if _, err := c.step(t.Context(), c.now); !errors.Is(err, c.fail) {
		t.Errorf("step: %v", err)
	}
	c.store(regPDDS, 0)
	if err := c.Run(t.Context()); !errors.Is(err, c.fail) {
		t.Errorf("run: %v", err)
	}
}

func TestMailbox(t *testing.T) {
	const linux, core = regMailbox, regMailbox + proc1
	c := newChip(t)
	c.store(linux+mailboxMR, 0xffff_ffff)
	c.store(linux+mailboxCR, 1<<16|1)
	c.expect(t, "all masked")

	// Linux sends on channel 0 and waits until it is free again
	c.store(linux+mailboxSCR, 1<<16)
	c.store(linux+mailboxMR, ^uint32(1<<16))
	c.expect(t, "Linux sends")
	if got := c.load(linux + mailboxSR); got != 1 {
		t.Fatalf("channels occupied by Linux: %#x", got)
	}
	c.store(core+mailboxSCR, 1)
	c.expect(t, "the core has read", "irq 102 true")
	c.store(linux+mailboxMR, 0xffff_ffff)
	c.expect(t, "Linux masks", "irq 102 false")

	// the core sends on channel 1
	c.store(linux+mailboxMR, ^uint32(2))
	c.store(core+mailboxSCR, 2<<16)
	c.expect(t, "the core sends", "irq 101 true")
	c.expect(t, "a level stays")
	c.store(linux+mailboxSCR, 2)
	c.expect(t, "Linux has read", "irq 101 false")
}

func TestShutdown(t *testing.T) {
	const linux, core = regMailbox, regMailbox + proc1
	start := func() *chip {
		c := newChip(t)
		c.store(linux+mailboxMR, ^uint32(chShutdown<<16))
		c.store(linux+mailboxCR, 1<<16)
		c.store(linux+mailboxSCR, chShutdown<<16) // occupied first, so that free is an event
		c.store(regPDDS, 0)
		c.expect(t, "start and shutdown request", "release")
		return c
	}

	c := start()
	c.store(core+mailboxSCR, chShutdown)
	c.expect(t, "acknowledged: halted before Linux hears", "reset", "irq 102 true")

	c = start()
	for range 250 {
		c.expect(t, "patience")
	}
	c.expect(t, "not acknowledged", "reset", "irq 102 true")
	c.expect(t, "once")
}

// TestShutdownBesideReset has a request to stop wait while the bridge looks seldom: the
// next firmware must not find it.
func TestShutdownBesideReset(t *testing.T) {
	const linux = regMailbox
	start := func() *chip {
		c := newChip(t)
		c.store(regPDDS, 0)
		c.expect(t, "start", "release")
		return c
	}
	occupied := func(c *chip) bool { return c.load(linux+mailboxSR)&chShutdown != 0 }

	c := start()
	c.store(regReset, 1)
	c.store(linux+mailboxSCR, chShutdown<<16)
	c.expect(t, "a late look at a restart, and the stop after it", "reset")
	if !occupied(c) {
		t.Fatal("no request")
	}
	c.expect(t, "answered", "reset")
	if occupied(c) {
		t.Error("the request is still there")
	}
	for range stopGrace.Milliseconds() {
		c.expect(t, "time for the reset of that stop")
	}
	c.expect(t, "it did not come: the restart", "release")

	c = start()
	c.store(linux+mailboxSCR, chShutdown<<16)
	c.expect(t, "a request")
	c.store(regReset, 1)
	c.store(regPDDS, 1)
	c.expect(t, "a stop that did not wait for the answer", "reset", "reset")
	if occupied(c) {
		t.Error("the request is still there")
	}
	c.store(regPDDS, 0)
	c.expect(t, "start", "release")
}

// firmwareAt is an ELF file with one segment, 16 bytes of which the first four are in
// the file, and a resource table there.
func firmwareAt(t testing.TB, addr uint32, section string) []byte {
	t.Helper()
	names := "\x00" + section + "\x00"
	header := elf.Header32{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_ARM), Version: 1, Ehsize: 52,
		Phoff: 52, Phentsize: 32, Phnum: 1, Shoff: 52 + 32 + 4 + uint32(len(names)), Shentsize: 40, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	for _, part := range []any{
		header,
		elf.Prog32{Type: uint32(elf.PT_LOAD), Off: 84, Vaddr: addr, Paddr: addr, Filesz: 4, Memsz: 16},
		[]byte("code"), []byte(names),
		elf.Section32{},
		elf.Section32{Name: 1, Type: uint32(elf.SHT_PROGBITS), Addr: addr, Off: 84, Size: 4},
		elf.Section32{Type: uint32(elf.SHT_STRTAB), Off: 88, Size: uint32(len(names))},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestBoot(t *testing.T) {
	c := newChip(t)
	for i := range 32 {
		c.memory[0x100+i] = 0xff
	}
	if err := c.Boot(firmwareAt(t, 0x60000100, ".resource_table")); err != nil {
		t.Fatal(err)
	}
	if got := string(c.memory[0x100:0x111]); got != "code"+strings.Repeat("\x00", 12)+"\xff" {
		t.Errorf("memory %q", got)
	}
	if c.load(regState) != stateRunning || c.load(regTable) != 0x60000100 {
		t.Errorf("state %d, table at %#x", c.load(regState), c.load(regTable))
	}
	c.expect(t, "booted", "release")

	for name, firmware := range map[string][]byte{
		"below":    firmwareAt(t, 0x5ffffffc, ".resource_table"),
		"above":    firmwareAt(t, 0x60fffffc, ".resource_table"),
		"no table": firmwareAt(t, 0x60000000, ".text"),
		"no ELF":   []byte("hello"),
	} {
		c := newChip(t)
		if err := c.Boot(firmware); err == nil {
			t.Errorf("%s: no error", name)
		}
		c.expect(t, name+": nothing starts")
	}
}

func FuzzBoot(f *testing.F) {
	f.Add(firmwareAt(f, 0x60000100, ".resource_table"))
	f.Add(firmwareAt(f, 0x60fffff0, ".resource_table"))
	memory := make([]byte, 16<<20)
	f.Fuzz(func(_ *testing.T, firmware []byte) {
		b := New(memory, nil, nil, slog.New(slog.DiscardHandler))
		_ = b.Boot(firmware) // it must not panic, nor write elsewhere
	})
}

func TestRunEnds(t *testing.T) {
	c := newChip(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
