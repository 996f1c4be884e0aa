package firmware

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
)

// image is an ELF32 file for tests: its fields are what the tests spoil.
type image struct {
	machine  elf.Machine
	class    elf.Class
	data     elf.Data
	loadAddr uint32
	fileSize uint32
	memSize  uint32
	phnum    uint16
	table    []byte // nil: no such section
	cut      int    // bytes missing at the end
}

func good() image {
	return image{
		machine: elf.EM_ARM, class: elf.ELFCLASS32, data: elf.ELFDATA2LSB,
		loadAddr: 0x60000000, fileSize: 64, memSize: 128, phnum: 1, table: traceTable(),
	}
}

func traceTable() []byte {
	var b bytes.Buffer
	for _, v := range []uint32{1, 1, 0, 0, 20, 2, 0x60001000, 0x1000, 0} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	name := make([]byte, 32)
	copy(name, "log")
	b.Write(name)
	return b.Bytes()
}

// bytes lays out: header, program header, segment, table, names, section headers.
func (i image) bytes() []byte {
	const phoff, segment = 52, 52 + 32
	names := []byte("\x00.resource_table\x00.shstrtab\x00")
	tableOff := uint32(segment + 64)
	namesOff := tableOff + uint32(len(i.table))
	shoff := namesOff + uint32(len(names))
	sections := []elf.Section32{{}}
	if i.table != nil {
		sections = append(sections, elf.Section32{Name: 1, Type: 1, Off: tableOff, Size: uint32(len(i.table))})
	}
	sections = append(sections, elf.Section32{Name: 17, Type: 3, Off: namesOff, Size: uint32(len(names))})
	h := elf.Header32{
		Type: 2, Machine: uint16(i.machine), Version: 1, Entry: i.loadAddr, Phoff: phoff, Shoff: shoff,
		Ehsize: 52, Phentsize: 32, Phnum: i.phnum, Shentsize: 40, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(i.class), byte(i.data), 1
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	put(h)
	put(elf.Prog32{Type: uint32(elf.PT_LOAD), Off: segment, Vaddr: 0xdead0000, Paddr: i.loadAddr, Filesz: i.fileSize, Memsz: i.memSize, Flags: 5})
	b.Write(make([]byte, 64))
	b.Write(i.table)
	b.Write(names)
	put(sections)
	return b.Bytes()[:b.Len()-i.cut]
}

func parse(b []byte) (*File, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestParse(t *testing.T) {
	f, err := parse(good().bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Segments) != 1 || f.Segments[0].Addr != 0x60000000 || f.Segments[0].MemSize != 128 {
		t.Errorf("segments %+v: the physical address counts", f.Segments)
	}
	traces := f.Table.Traces()
	if len(traces) != 1 || traces[0] != (Resource{Type: Trace, Name: "log", Addr: 0x60001000, Len: 0x1000}) {
		t.Errorf("traces %+v", traces)
	}
	if f.Machine != elf.EM_ARM || f.Class != elf.ELFCLASS32 {
		t.Errorf("machine %v, class %v", f.Machine, f.Class)
	}
}

func TestParseRefuses(t *testing.T) {
	table := func(words ...uint32) []byte {
		var b bytes.Buffer
		_ = binary.Write(&b, binary.LittleEndian, words)
		return b.Bytes()
	}
	for _, c := range []struct {
		name, want string
		spoil      func(*image)
	}{
		{"big endian", "not little endian", func(i *image) { i.data = elf.ELFDATA2MSB }},
		{"class", "class 7", func(i *image) { i.class = 7 }},
		{"no program header", "no program header", func(i *image) { i.phnum = 0 }},
		{"program headers beyond the end", "cut short", func(i *image) { i.phnum = 1000 }},
		{"too many program headers", "more than 1024", func(i *image) { i.phnum = 60000 }},
		{"file larger than memory", "segment 0: 0x81 bytes in the file, 0x80 in memory", func(i *image) { i.fileSize = 129 }},
		{"segment beyond the end", "segment 0 is cut short", func(i *image) { i.fileSize, i.memSize = 1<<20, 1<<20 }},
		{"cut section headers", "cut short", func(i *image) { i.cut = 1 }},
		{"all section headers cut", "stripped section table", func(i *image) { i.cut = 3 * 40 }},
		{"table without header", "no header", func(i *image) { i.table = table(1, 0) }},
		{"table version", "version 2", func(i *image) { i.table = table(2, 0, 0, 0) }},
		{"table reserved", "reserved", func(i *image) { i.table = table(1, 0, 1, 0) }},
		{"table incomplete", "incomplete: 3 entries", func(i *image) { i.table = table(1, 3, 0, 0, 20) }},
		{"table with 4 billion entries", "incomplete", func(i *image) { i.table = table(1, 0xffffffff, 0, 0, 20) }},
		{"entry outside", "outside of the table", func(i *image) { i.table = table(1, 1, 0, 0, 4000) }},
		{"entry cut short", "trace is cut short", func(i *image) { i.table = table(1, 1, 0, 0, 20, 2, 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := good()
			c.spoil(&i)
			_, err := parse(i.bytes())
			var format *FormatError
			if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	for _, text := range []string{"", "\x7fEL", "#!/bin/sh\necho this is a script\n", "\x7fELF"} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("%q parsed", text)
		}
	}
}

func TestParseReadsError(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := Parse(readerAt(func([]byte, int64) (int, error) { return 0, broken }), 1000)
	if !errors.Is(err, broken) {
		t.Errorf("error %v hides that the file cannot be read", err)
	}
}

type readerAt func([]byte, int64) (int, error)

func (r readerAt) ReadAt(b []byte, off int64) (int, error) { return r(b, off) }

func TestCheck(t *testing.T) {
	b, err := board.Lookup("qemu-virt")
	if err != nil {
		t.Fatal(err)
	}
	core := b.Cores[0]
	for _, c := range []struct {
		name  string
		spoil func(*image)
		want  string // "" for no finding
		fatal bool
	}{
		{"good", func(*image) {}, "", false},
		{"machine", func(i *image) { i.machine = elf.EM_X86_64 }, "wrong machine for cortex-m4: the ELF file is for x86-64, 32 bit; the core needs Arm, 32 bit", true},
		{"unknown machine", func(i *image) { i.machine = 9999 }, "machine 9999", true},
		{"address", func(i *image) { i.loadAddr = 0x1FFE0000 }, "segment at 0x1ffe0000 (128 bytes) is outside of the memory of cortex-m4: RAM 0x60000000-0x600fffff", true},
		{"empty segment", func(i *image) { i.fileSize, i.memSize = 0, 0 }, "no loadable segment", true},
		{"no table", func(i *image) { i.table = nil }, "no resource table", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := good()
			c.spoil(&i)
			f, err := parse(i.bytes())
			if err != nil {
				t.Fatal(err)
			}
			findings := f.Check(core)
			if c.want == "" {
				if len(findings) != 0 {
					t.Errorf("findings %v", findings)
				}
				return
			}
			if len(findings) != 1 || findings[0].Fatal != c.fatal || !strings.Contains(findings[0].Message, c.want) {
				t.Errorf("findings %+v, want %q", findings, c.want)
			}
		})
	}
}

// FuzzParse looks for panics and for memory that a small file can ask for; what
// it accepts, debug/elf must find plausible too.
func FuzzParse(f *testing.F) {
	f.Add(good().bytes())
	i := good()
	i.table = nil
	f.Add(i.bytes())
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parse(b)
		if err != nil {
			return
		}
		for _, s := range file.Segments {
			if s.FileSize > s.MemSize || s.Offset+s.FileSize > uint64(len(b)) {
				t.Errorf("accepted segment %+v of a file of %d bytes", s, len(b))
			}
		}
		if file.Table != nil && len(file.Table.Entries) > len(b)/4 {
			t.Errorf("%d table entries in %d bytes", len(file.Table.Entries), len(b))
		}
		file.Check(board.Core{MCU: "cortex-m4", Machine: elf.EM_ARM})
	})
}
