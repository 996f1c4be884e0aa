package sysfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

// content reads a dump in pieces of n bytes.
func content(t *testing.T, d *dump, n int) []byte {
	t.Helper()
	var all []byte
	b := make([]byte, n)
	for {
		n, err := d.readAt(b, int64(len(all)))
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		all = append(all, b[:n]...)
	}
}

// crash waits for the recovery, too.
func (b *bench) crash() {
	b.t.Helper()
	up := func() int { return strings.Count(b.log.String(), "is now up") }
	before := up()
	b.run("control crash")
	for deadline := time.Now().Add(5 * time.Second); up() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatal("no recovery")
		}
	}
}

func (b *bench) dumped() *dump {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dump
}

func dumping(k *kernel, p *Processor) {
	k.dumps.kept = time.Hour
	p.Memory = append(p.Memory, board.Region{Name: sharedBuffers, Start: 0x4000, Size: 0x1000}, board.Region{Name: "large", Start: 0x10000000, Size: 1 << 30})
}

func TestCoreDump(t *testing.T) {
	b := newBench(t, dumping)
	f := elftest.File{
		Segments: []elftest.Segment{{Addr: 0x1000, Data: []byte("code")}, {Addr: traceAt, Data: []byte("hello"), MemSize: 0x100}},
		Table:    elftest.Table(elftest.Trace(traceAt, 16, "trace"), elftest.Trace(0x8000, 3, "nowhere")),
	}
	b.files["a.elf"] = f.Bytes()
	b.run("coredump enabled", "state start")
	b.crash()
	dump := b.dumped()
	if dump == nil {
		t.Fatal("no dump")
	}
	all := content(t, dump, 1000)
	if !bytes.Equal(all, content(t, dump, 7)) || !bytes.Equal(all, content(t, dump, 1<<20)) {
		t.Error("the size of reads matters")
	}
	core, err := elf.NewFile(bytes.NewReader(all))
	if err != nil {
		t.Fatal(err)
	}
	if core.Type != elf.ET_CORE || core.Machine != elf.EM_NONE || core.Entry != 0x1000 || len(core.Progs) != 3 {
		t.Fatalf("%+v", core)
	}
	for i, want := range []struct {
		addr uint64
		text string
	}{{0x1000, "code"}, {traceAt, "hello\x00"}, {0x8000, "\xff\xff\xff"}} {
		p, text := core.Progs[i], make([]byte, len(want.text))
		if _, err := p.ReadAt(text, 0); err != nil || p.Paddr != want.addr || string(text) != want.text {
			t.Errorf("segment %d: %#x %q, %v", i, p.Paddr, text, err)
		}
	}
	// one that is there is not replaced, and the next has another number
	b.crash()
	if b.dumped() != dump {
		t.Error("a second dump replaces the first")
	}
	b.kernel.dumps.free(dump)
	b.kernel.dumps.free(dump)
	if _, err := dump.readAt(make([]byte, 1), 0); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a dump that is gone: %v", err)
	}
	b.crash()
	if name := b.dumped().inClass.name; name != "devcd2" {
		t.Errorf("the next is %s", name)
	}
}

// TestCoreDumpExpires has nobody take a dump.
func TestCoreDumpExpires(t *testing.T) {
	b := newBench(t, func(k *kernel, p *Processor) {
		dumping(k, p)
		k.dumps.kept = 20 * time.Millisecond
	})
	b.run("coredump inline", "state start")
	b.crash()
	if len(b.dumpLink()) != 0 {
		t.Error("the dump is still there")
	}
}

// TestCoreDumpDisabled is how an administrator switches core dumps off, for good.
func TestCoreDumpDisabled(t *testing.T) {
	b := newBench(t, dumping)
	b.run("coredump enabled", "state start")
	b.crash()
	f := b.kernel.dumps.disabledFile()
	for _, value := range []string{"0", "2", "x", ""} {
		if err := f.store(t.Context(), value); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%q: %v", value, err)
		}
	}
	if b.dumped() == nil {
		t.Fatal("no dump")
	}
	if err := f.store(t.Context(), "1\n"); err != nil || b.dumped() != nil {
		t.Errorf("%v, %v", err, b.dumped())
	}
	b.run("coredump inline")
	b.crash()
	if content, _ := f.show(); string(content) != "1\n" || b.dumped() != nil {
		t.Errorf("disabled is %q, and the dump %v", content, b.dumped())
	}
}
