package sysfs

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"syscall"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

// put overwrites a 32-bit word of a file or table.
func put(b []byte, offset int, value uint32) []byte {
	binary.LittleEndian.PutUint32(b[offset:], value)
	return b
}

func put16(b []byte, offset int, value uint16) []byte {
	binary.LittleEndian.PutUint16(b[offset:], value)
	return b
}

// second is the offset of the second program header of a good file.
const second = elftest.HeaderSize32 + elftest.ProgSize32

// TestELF has one test a rule of remoteproc_elf_loader.c: what start answers, and
// the kernel's word for it.
func TestELF(t *testing.T) {
	is64 := elftest.File{Class: elf.ELFCLASS64, Segments: []elftest.Segment{{Addr: 0x1000, Data: []byte("code")}}}
	for name, test := range map[string]struct {
		file []byte
		want string // in the error; empty is success
	}{
		"good":                        {good(""), ""},
		"64 bit":                      {is64.Bytes(), ""},
		"other machine":               {put16(good(""), 18, uint16(elf.EM_X86_64)), ""},
		"empty":                       {nil, "Image is too small"},
		"short":                       {good("")[:51], "Image is too small"},
		"magic":                       {put(good(""), 0, 1), "bad magic"},
		"class":                       {put(good(""), 4, 0x00010103), "Unsupported class: 3"},
		"64 bit in a short file":      {is64.Bytes()[:60], "elf64 header is too small"},
		"endianness":                  {put(good(""), 4, 0x00010201), "Unsupported firmware endianness"},
		"section headers cut":         {good("")[:len(good(""))-2*elftest.SectionSize32-1], "Image is too small"},
		"one section header left":     {put16(good("")[:len(good(""))-2*elftest.SectionSize32], elftest.Shnum32, 0), ""},
		"sections outside":            {put(good(""), elftest.Shoff32, 1<<20), "Image is too small"},
		"no section headers":          {put(put(good(""), elftest.Shoff32, 0), elftest.Shnum32, 0), ""},
		"no program headers":          {put16(good(""), elftest.Phnum32, 0), "No loadable segments"},
		"program headers outside":     {put(good(""), elftest.Phoff32, 1<<20), "Firmware size is too small"},
		"program headers cut":         {put16(good(""), elftest.Phnum32, 1000), ""}, // see below
		"filesz > memsz":              {put(good("text"), second+elftest.ProgMemsz32, 3), "bad phdr filesz 0x4 memsz 0x3"},
		"segment outside of the file": {put(good("text"), second+elftest.ProgOffset32, 1<<20), "truncated fw: need 0x100004"},
		"segment before the memory":   {put(good(""), second+12, 0xffc), "bad phdr da 0xffc mem 0x100"},
		"segment across the end":      {put(good(""), second+12, 0x1f01), "bad phdr da 0x1f01 mem 0x100"},
		"segment up to the end":       {put(good(""), second+12, 0x1f00), ""},
		"segment around the world":    {put(put(good(""), second+12, 0xfffffff0), second+elftest.ProgMemsz32, 0x1000), "bad phdr"},
		"empty segment anywhere":      {put(put(put(good(""), second+12, 0), second+elftest.ProgFilesz32, 0), second+elftest.ProgMemsz32, 0), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.files["a.elf"] = test.file
			err := b.Core.start(t.Context())
			if name == "program headers cut" {
				// the kernel reads on, past the end of the file; we need not
				test.want = "program header"
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || errnoOf(err) != syscall.EINVAL || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v, want EINVAL and %q", err, test.want)
			}
		})
	}
}

// TestTable has one test a rule of resource tables. What find_table refuses is as
// good as no table, unless the driver wants one.
func TestTable(t *testing.T) {
	one := func() []byte { return elftest.Table(elftest.Trace(traceAt, 16, "trace")) }
	for name, test := range map[string]struct {
		table    []byte
		required string // error of a driver that wants a table; empty is success
		tolerant string // and of one that does not
		traces   int
	}{
		"good":               {one(), "", "", 1},
		"none":               {nil, "no resource table", "", 0},
		"header-less":        {elftest.Table()[:15], "header-less resource table", "", 0},
		"version":            {put(one(), 0, 2), "unsupported fw ver: 2", "", 0},
		"reserved":           {put(one(), 12, 1), "non zero reserved bytes", "", 0},
		"incomplete":         {put(elftest.Table(), 4, 0xffffffff), "resource table incomplete", "", 0},
		"empty":              {elftest.Table(), "", "", 0},
		"two traces":         {elftest.Table(elftest.Trace(traceAt, 4, ""), elftest.Trace(traceAt+4, 4, "")), "", "", 2},
		"unknown":            {elftest.Table([]byte{77, 0, 0, 0}), "", "", 0},
		"vendor":             {elftest.Table([]byte{128, 0, 0, 0}), "", "", 0},
		"entry outside":      {put(one(), 16, 1000), "rsc table is truncated", "rsc table is truncated", 0},
		"trace cut":          {elftest.Table(elftest.Trace(traceAt, 16, "")[:40]), "trace rsc is truncated", "trace rsc is truncated", 0},
		"trace reserved":     {elftest.Table(put(elftest.Trace(traceAt, 16, ""), 12, 1)), "trace rsc has non zero", "trace rsc has non zero", 0},
		"devmem":             {elftest.Table(elftest.DevMem(0, 16, "")), "IOMMU", "IOMMU", 0},
		"carveout":           {elftest.Table(elftest.Carveout(0x9000, 16, "own")), "", "", 0},
		"carveout by name":   {elftest.Table(elftest.Carveout(0x1000, 16, "ram")), "", "", 0},
		"carveout cut":       {elftest.Table(elftest.Carveout(0x1000, 16, "")[:40]), "carveout rsc is truncated", "carveout rsc is truncated", 0},
		"carveout reserved":  {elftest.Table(put(elftest.Carveout(0x1000, 16, ""), 20, 1)), "carveout rsc has non zero", "carveout rsc has non zero", 0},
		"carveout too large": {elftest.Table(elftest.Carveout(0xffffffff, 0x1001, "ram")), "doesn't fit", "doesn't fit", 0},
		"vdev":               {elftest.Table(elftest.Vdev(7, 2, 4)), "", "", 0},
		"vdev cut":           {elftest.Table(elftest.Vdev(7, 2, 4)[:60]), "vdev rsc is truncated", "vdev rsc is truncated", 0},
		"vdev of three":      {elftest.Table(elftest.Vdev(7, 3, 4)), "too many vrings: 3", "too many vrings: 3", 0},
		"vdev reserved":      {elftest.Table(func() []byte { b := elftest.Vdev(7, 1, 4); b[26] = 1; return b }()), "vdev rsc has non zero", "vdev rsc has non zero", 0},
	} {
		for _, required := range []bool{false, true} {
			b := newBench(t, func(_ *kernel, p *Processor) { p.TableRequired = required })
			b.files["a.elf"] = elftest.File{Segments: []elftest.Segment{{Addr: 0x1000, Data: []byte("code")}}, Table: test.table}.Bytes()
			want := test.tolerant
			if required {
				want = test.required
			}
			err := b.Core.start(t.Context())
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s, required %v: %v, want %q", name, required, err, want)
			}
			if n := len(b.traceBuffers()); err == nil && n != test.traces || err != nil && n != 0 {
				t.Errorf("%s: %d traces", name, n)
			}
		}
	}
}

// TestCarveout loads to memory that only the firmware's own carveout brings.
func TestCarveout(t *testing.T) {
	b := newBench(t, nil)
	f := elftest.File{Segments: []elftest.Segment{{Addr: 0x9000, Data: []byte("data")}}}
	b.files["a.elf"] = f.Bytes()
	b.run("EINVAL state start")
	f.Table = elftest.Table(elftest.Carveout(0x9000, 0x100, "own"))
	b.files["a.elf"] = f.Bytes()
	b.run("state start")
	if got := b.read("debug/carveout_memories"); !strings.Contains(got, "\tName: own\n") || !strings.Contains(got, "\tDevice address: 0x9000\n\tLength: 0x100 Bytes\n") {
		t.Errorf("carveouts %s", got)
	}
	b.run("state stop")
	if got := b.read("debug/carveout_memories"); got != "" {
		t.Errorf("carveouts after stop %s", got)
	}
}

func TestDescribe(t *testing.T) {
	table := elftest.Table(elftest.Carveout(1, 2, "c"), elftest.DevMem(3, 4, "d"), elftest.Trace(5, 6, "t"), elftest.Vdev(7, 1, 8), []byte{77, 0, 0, 0})
	want := `Entry 0 is of type carveout
  Device Address 0x1
  Physical Address 0x0
  Length 0x2 Bytes
  Flags 0x0
  Reserved (should be zero) [0]
  Name c

Entry 1 is of type devmem
  Device Address 0x3
  Physical Address 0x3
  Length 0x4 Bytes
  Flags 0x0
  Reserved (should be zero) [0]
  Name d

Entry 2 is of type trace
  Device Address 0x5
  Length 0x6 Bytes
  Reserved (should be zero) [0]
  Name t

Entry 3 is of type vdev
  ID 7
  Notify ID 0
  Device features 0x0
  Guest features 0x0
  Config length 0x0
  Status 0x0
  Number of vrings 1
  Reserved (should be zero) [0][0]

  Vring 0
    Device Address 0xffffffff
    Alignment 16
    Number of buffers 8
    Notify ID 0
    Physical Address 0x0

Unknown resource type found: 77 [hdr: 0x0]
`
	if got := describe(table); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestMemory(t *testing.T) {
	m := pages{}
	m.write(pageSize-2, []byte("abcd"))
	for _, test := range []struct {
		addr, limit uint64
		want        string
	}{
		{pageSize - 2, 100, "abcd"}, {pageSize - 2, 3, "abc"}, {pageSize, 100, "cd"}, {0, 10, ""}, {1 << 40, 10, ""}, {pageSize, 0, ""},
	} {
		if got := string(m.stringAt(test.addr, test.limit)); got != test.want {
			t.Errorf("%d bytes at %#x: %q, want %q", test.limit, test.addr, got, test.want)
		}
	}
	m.clear(pageSize+1, 1<<50)
	if got := string(m.stringAt(pageSize-2, 100)); got != "abc" {
		t.Errorf("after clearing from the fourth byte: %q", got)
	}
	m.clear(0, pageSize-1)
	if got := string(m.stringAt(pageSize-1, 100)); got != "bc" {
		t.Errorf("after clearing the first byte: %q", got)
	}
}

// FuzzLoad loads any file, and compares with package firmware: what that accepts
// the kernel must accept too, as far as the file itself goes.
func FuzzLoad(f *testing.F) {
	f.Add(good("hello"))
	f.Add(elftest.File{Class: elf.ELFCLASS64, Segments: []elftest.Segment{{Data: []byte("x"), MemSize: 99}}, Table: elftest.Table(elftest.Vdev(7, 2, 4))}.Bytes())
	f.Add(elftest.File{Segments: []elftest.Segment{{Data: []byte("x")}}, Table: elftest.Table(elftest.Carveout(1, 2, "c"), elftest.DevMem(1, 2, "d"))}.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		_, refused := firmware.Parse(bytes.NewReader(data), int64(len(data)))
		m, err := parse(data)
		if err == nil {
			err = m.segments(func(segment) error { return nil })
		}
		if refused == nil && err != nil {
			t.Errorf("package firmware accepts what the kernel does not: %v", err)
		}
		if m == nil {
			return
		}
		if table, _, err := m.table(); err == nil {
			if _, err := handle(table, []board.Region{{Name: "c", Start: 0, Size: 1 << 32}}); err == nil {
				describe(table)
			}
		}
	})
}
