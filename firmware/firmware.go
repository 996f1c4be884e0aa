// Package firmware reads what an ELF file says about itself (machine, segments,
// resource table) and tells whether a core can take it.
//
// It has a parser of its own, not debug/elf, for two reasons. It applies the
// rules of the kernel's loader (drivers/remoteproc/remoteproc_elf_loader.c): what
// this package accepts the kernel can load, what it refuses the kernel refuses
// too, or would read past an end. And it reads hostile files on small boards: it
// allocates no more than the tables whose bounds it has checked.
package firmware

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits on what an untrusted file can make us read. Real firmware has about ten
// sections and five segments.
const (
	maxProgs    = 1024
	maxSections = 8192
	maxNames    = 1 << 20 // bytes of section names
	maxTable    = 64 << 10
)

// File is a parsed firmware.
type File struct {
	Class    elf.Class
	Machine  elf.Machine
	Entry    uint64
	Segments []Segment // PT_LOAD with a size in memory, in file order
	// Table is nil if there is no section .resource_table.
	Table *ResourceTable
}

// Segment is a PT_LOAD program header. Addresses are as the core sees them.
type Segment struct {
	Addr     uint64 // physical address, the one that the kernel loads to
	Offset   uint64 // in the file
	FileSize uint64 // bytes in the file
	MemSize  uint64 // bytes in memory, at least FileSize; the rest is zeroed
	Flags    elf.ProgFlag
}

// FormatError reports a file that the kernel would not load, and why.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return e.Reason }

func formatErrorf(format string, args ...any) error {
	return &FormatError{fmt.Sprintf(format, args...)}
}

// IsELF reports whether a file that starts with head is an ELF file.
func IsELF(head []byte) bool { return len(head) >= 4 && string(head[:4]) == elf.ELFMAG }

// header is the part of the ELF header that matters, of either class.
type header struct {
	machine                              uint16
	entry, phoff, shoff                  uint64
	phentsize, phnum, shentsize, shnum   uint16
	shstrndx                             uint16
	headerSize, progSize, sectionRecSize uint64 // sizes of the class's own records
}

// Parse reads the firmware in the first size bytes of r. What the kernel would
// not load is a *FormatError; other errors are those of r.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	p := &parser{r: r, size: uint64(max(size, 0))}
	ident, err := p.read(0, elf.EI_NIDENT)
	if err != nil || !IsELF(ident) {
		if isIO(err) {
			return nil, err
		}
		return nil, formatErrorf("not an ELF file")
	}
	f := &File{Class: elf.Class(ident[elf.EI_CLASS])}
	if f.Class != elf.ELFCLASS32 && f.Class != elf.ELFCLASS64 {
		return nil, formatErrorf("ELF class %d is neither 32 nor 64 bit", ident[elf.EI_CLASS])
	}
	if elf.Data(ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, formatErrorf("ELF file is not little endian, as the application cores are")
	}
	p.is64 = f.Class == elf.ELFCLASS64
	h, err := p.header()
	if err != nil {
		return nil, err
	}
	f.Machine, f.Entry = elf.Machine(h.machine), h.entry
	// rproc_elf_sanity_check wants room for one section header even where there is none.
	if !p.fits(h.shoff, h.sectionRecSize) {
		return nil, formatErrorf("ELF file is cut short: %d bytes, section headers at %#x (a stripped section table is refused by the kernel)", p.size, h.shoff)
	}
	if h.phnum == 0 {
		return nil, formatErrorf("ELF file has no program header, so nothing to load")
	}
	if f.Segments, err = p.segments(h); err != nil {
		return nil, err
	}
	f.Table, err = p.resourceTable(h)
	if err != nil {
		return nil, err
	}
	return f, nil
}

type parser struct {
	r    io.ReaderAt
	size uint64
	is64 bool
}

// fits reports whether n bytes at off lie inside the file.
func (p *parser) fits(off, n uint64) bool { return off <= p.size && n <= p.size-off }

// read returns n bytes at off; a range outside of the file is a *FormatError.
func (p *parser) read(off, n uint64) ([]byte, error) {
	if !p.fits(off, n) {
		return nil, formatErrorf("ELF file is cut short: %d bytes at %#x wanted, the file has %d", n, off, p.size)
	}
	b := make([]byte, n)
	if _, err := p.r.ReadAt(b, int64(off)); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading firmware: %w", err)
	}
	return b, nil
}

func isIO(err error) bool {
	var format *FormatError
	return err != nil && !errors.As(err, &format)
}

// fields decodes consecutive fields; w is the class's word: 4 or 8 bytes.
type fields struct {
	b    []byte
	word int
}

func (f *fields) u16() uint16 { v := binary.LittleEndian.Uint16(f.b); f.b = f.b[2:]; return v }
func (f *fields) u32() uint32 { v := binary.LittleEndian.Uint32(f.b); f.b = f.b[4:]; return v }

func (f *fields) uword() uint64 {
	if f.word == 4 {
		return uint64(f.u32())
	}
	v := binary.LittleEndian.Uint64(f.b)
	f.b = f.b[8:]
	return v
}

func (p *parser) fields(b []byte) *fields {
	if p.is64 {
		return &fields{b, 8}
	}
	return &fields{b, 4}
}

func (p *parser) header() (*header, error) {
	h := &header{headerSize: 52, progSize: 32, sectionRecSize: 40}
	if p.is64 {
		h.headerSize, h.progSize, h.sectionRecSize = 64, 56, 64
	}
	b, err := p.read(0, h.headerSize)
	if err != nil {
		return nil, err
	}
	f := p.fields(b[elf.EI_NIDENT:])
	f.u16() // e_type is not looked at by the kernel
	h.machine = f.u16()
	f.u32() // e_version
	h.entry, h.phoff, h.shoff = f.uword(), f.uword(), f.uword()
	f.u32() // e_flags
	f.u16() // e_ehsize
	h.phentsize, h.phnum = f.u16(), f.u16()
	h.shentsize, h.shnum, h.shstrndx = f.u16(), f.u16(), f.u16()
	return h, nil
}

// segments applies the rules of rproc_elf_load_segments. The kernel steps by the
// record's own size, whatever e_phentsize says.
func (p *parser) segments(h *header) ([]Segment, error) {
	if h.phnum > maxProgs {
		return nil, formatErrorf("ELF file has %d program headers, more than %d is not firmware", h.phnum, maxProgs)
	}
	if uint64(h.phentsize) != h.progSize {
		return nil, formatErrorf("ELF program headers are %d bytes each, not %d", h.phentsize, h.progSize)
	}
	b, err := p.read(h.phoff, uint64(h.phnum)*h.progSize)
	if err != nil {
		return nil, err
	}
	var segments []Segment
	for i := range uint64(h.phnum) {
		f := p.fields(b[i*h.progSize:][:h.progSize])
		var s Segment
		typ := elf.ProgType(f.u32())
		if p.is64 {
			s.Flags = elf.ProgFlag(f.u32())
		}
		s.Offset = f.uword()
		f.uword() // virtual address
		s.Addr, s.FileSize, s.MemSize = f.uword(), f.uword(), f.uword()
		if !p.is64 {
			s.Flags = elf.ProgFlag(f.u32())
		}
		if typ != elf.PT_LOAD || s.MemSize == 0 {
			continue
		}
		if s.FileSize > s.MemSize {
			return nil, formatErrorf("segment %d: %#x bytes in the file, %#x in memory", i, s.FileSize, s.MemSize)
		}
		if !p.fits(s.Offset, s.FileSize) {
			return nil, formatErrorf("segment %d is cut short: ends at %#x, the file at %#x", i, s.Offset+s.FileSize, p.size)
		}
		segments = append(segments, s)
	}
	return segments, nil
}

// sectionTable is a file's section headers, not yet decoded, and their names.
type sectionTable struct {
	p       *parser
	records []byte
	size    uint64 // of a record
	names   []byte
}

func (t *sectionTable) len() uint64 { return uint64(len(t.records)) / t.size }

// header decodes a section header; the name is an offset into the names.
func (t *sectionTable) header(i uint64) (name, typ uint32, flags, addr, off, size uint64) {
	f := t.p.fields(t.records[i*t.size:][:t.size])
	return f.u32(), f.u32(), f.uword(), f.uword(), f.uword(), f.uword()
}

// sections reads the section table; it is empty if the file has none.
func (p *parser) sections(h *header) (*sectionTable, error) {
	t := &sectionTable{p: p, size: h.sectionRecSize}
	if h.shnum == 0 || h.shoff == 0 {
		return t, nil
	}
	if h.shnum > maxSections {
		return nil, formatErrorf("ELF file has %d sections, more than %d is not firmware", h.shnum, maxSections)
	}
	if uint64(h.shentsize) != h.sectionRecSize {
		return nil, formatErrorf("ELF section headers are %d bytes each, not %d", h.shentsize, h.sectionRecSize)
	}
	var err error
	if t.records, err = p.read(h.shoff, uint64(h.shnum)*h.sectionRecSize); err != nil {
		return nil, err
	}
	if h.shstrndx >= h.shnum {
		return nil, formatErrorf("ELF file has no section names: index %d of %d sections", h.shstrndx, h.shnum)
	}
	_, _, _, _, off, size := t.header(uint64(h.shstrndx))
	if size > maxNames {
		return nil, formatErrorf("ELF section names take %d bytes, more than %d is not firmware", size, maxNames)
	}
	t.names, err = p.read(off, size)
	return t, err
}

// resourceTable reads the first section .resource_table, as find_table does.
func (p *parser) resourceTable(h *header) (*ResourceTable, error) {
	sections, err := p.sections(h)
	if err != nil {
		return nil, err
	}
	for i := range sections.len() {
		name, _, _, addr, off, size := sections.header(i)
		if cString(sections.names, uint64(name)) != ".resource_table" {
			continue
		}
		if size > maxTable {
			return nil, formatErrorf("resource table is %d bytes, more than %d is not a table", size, maxTable)
		}
		b, err := p.read(off, size)
		if err != nil {
			return nil, fmt.Errorf("resource table: %w", err)
		}
		return parseTable(b, addr)
	}
	return nil, nil
}

// cString is the string that starts at off of table, empty if there is none.
func cString(table []byte, off uint64) string {
	if off >= uint64(len(table)) {
		return ""
	}
	return zeroTerminated(table[off:])
}
