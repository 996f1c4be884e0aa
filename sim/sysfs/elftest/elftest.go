// Package elftest writes small ELF files for tests of what loads firmware: good
// ones, and ones that are wrong in exactly one way.
package elftest

import (
	"debug/elf"
	"encoding/binary"
)

// File is an ELF file to be. Its zero value has no segment and no section.
type File struct {
	// Class is elf.ELFCLASS32 or elf.ELFCLASS64; 0 is 32 bit.
	Class elf.Class
	// Machine is e_machine; 0 is elf.EM_ARM.
	Machine  elf.Machine
	Segments []Segment
	// Table is the content of the section .resource_table; nil is none. It is also
	// loaded to TableAddr where a segment covers that.
	Table     []byte
	TableAddr uint64
	// Entry is e_entry; 0 is the address of the first segment.
	Entry uint64
	// Sections are further ones.
	Sections []Section
}

// Section is a section that is not loaded by itself.
type Section struct {
	Name  string
	Type  elf.SectionType
	Flags elf.SectionFlag
	Addr  uint64
	Data  []byte
	Size  uint64 // 0 is the length of Data; else that of a SHT_NOBITS
}

// Segment is a program header.
type Segment struct {
	Type    elf.ProgType // 0 is PT_LOAD
	Addr    uint64       // physical address
	Data    []byte
	MemSize uint64 // 0 is the length of Data
}

// namesOfAll are the section names of every file. The first byte is the empty name.
const namesOfAll = "\x00.resource_table\x00.shstrtab\x00"

// Offsets of fields, for tests that break them.
const (
	Phoff32, Shoff32       = 28, 32
	Phnum32, Shnum32       = 44, 48
	Shstrndx32             = 50
	HeaderSize32           = 52
	ProgSize32             = 32
	SectionSize32          = 40
	ProgOffset32           = 4  // of p_offset in a program header
	ProgFilesz32           = 16 // of p_filesz
	ProgMemsz32            = 20 // of p_memsz
	headerSize64, progSize = 64, 56
	sectionSize64          = 64
)

// Bytes is the file: header, program headers, data, table, names, section headers.
func (f File) Bytes() []byte {
	w := writer{is64: f.Class == elf.ELFCLASS64}
	header, prog, section := uint64(HeaderSize32), uint64(ProgSize32), uint64(SectionSize32)
	if w.is64 {
		header, prog, section = headerSize64, progSize, sectionSize64
	}
	offset := header + prog*uint64(len(f.Segments))
	dataAt := offset
	for _, s := range f.Segments {
		offset += uint64(len(s.Data))
	}
	tableAt := offset
	namesAt := tableAt + uint64(len(f.Table))
	names := namesOfAll
	for _, s := range f.Sections {
		names += s.Name + "\x00"
	}
	extraAt := namesAt + uint64(len(names))
	shoff := extraAt
	for _, s := range f.Sections {
		shoff += uint64(len(s.Data))
	}
	sections := uint16(2 + len(f.Sections)) // the null section and the names
	if f.Table != nil {
		sections++
	}
	class, machine := elf.ELFCLASS32, f.Machine
	if w.is64 {
		class = elf.ELFCLASS64
	}
	if machine == 0 {
		machine = elf.EM_ARM
	}

	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(class), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	w.b = append(w.b, ident[:]...)
	w.u16(uint16(elf.ET_EXEC), uint16(machine))
	w.u32(uint32(elf.EV_CURRENT))
	w.word(f.entry(), header, shoff)
	w.u32(0) // flags
	w.u16(uint16(header), uint16(prog), uint16(len(f.Segments)), uint16(section), sections, sections-1)

	for _, s := range f.Segments {
		typ, size := s.Type, s.MemSize
		if typ == 0 {
			typ = elf.PT_LOAD
		}
		if size == 0 {
			size = uint64(len(s.Data))
		}
		w.u32(uint32(typ))
		if w.is64 {
			w.u32(uint32(elf.PF_R | elf.PF_X))
		}
		w.word(dataAt, s.Addr, s.Addr, uint64(len(s.Data)), size)
		if !w.is64 {
			w.u32(uint32(elf.PF_R | elf.PF_X))
		}
		w.word(4)
		dataAt += uint64(len(s.Data))
	}
	for _, s := range f.Segments {
		w.b = append(w.b, s.Data...)
	}
	w.b = append(w.b, f.Table...)
	w.b = append(w.b, names...)
	for _, s := range f.Sections {
		w.b = append(w.b, s.Data...)
	}

	w.section(0, elf.SHT_NULL, 0, 0, 0, 0)
	if f.Table != nil {
		w.section(1, elf.SHT_PROGBITS, 0, f.TableAddr, tableAt, uint64(len(f.Table)))
	}
	nameAt := uint32(len(namesOfAll))
	for _, s := range f.Sections {
		size := s.Size
		if size == 0 {
			size = uint64(len(s.Data))
		}
		w.section(nameAt, s.Type, s.Flags, s.Addr, extraAt, size)
		nameAt += uint32(len(s.Name) + 1)
		extraAt += uint64(len(s.Data))
	}
	w.section(17, elf.SHT_STRTAB, 0, 0, namesAt, uint64(len(names)))
	return w.b
}

func (f File) entry() uint64 {
	if f.Entry != 0 {
		return f.Entry
	}
	if len(f.Segments) == 0 {
		return 0
	}
	return f.Segments[0].Addr
}

type writer struct {
	b    []byte
	is64 bool
}

func (w *writer) u16(values ...uint16) {
	for _, v := range values {
		w.b = binary.LittleEndian.AppendUint16(w.b, v)
	}
}

func (w *writer) u32(values ...uint32) {
	for _, v := range values {
		w.b = binary.LittleEndian.AppendUint32(w.b, v)
	}
}

func (w *writer) word(values ...uint64) {
	for _, v := range values {
		if w.is64 {
			w.b = binary.LittleEndian.AppendUint64(w.b, v)
		} else {
			w.u32(uint32(v))
		}
	}
}

func (w *writer) section(name uint32, typ elf.SectionType, flags elf.SectionFlag, addr, offset, size uint64) {
	w.u32(name, uint32(typ))
	w.word(uint64(flags), addr, offset, size)
	w.u32(0, 0)
	w.word(1, 0)
}

// Table is a resource table of version 1 with these entries.
func Table(entries ...[]byte) []byte {
	w := writer{}
	w.u32(1, uint32(len(entries)), 0, 0)
	offset := 16 + 4*len(entries)
	for _, e := range entries {
		w.u32(uint32(offset))
		offset += len(e)
	}
	for _, e := range entries {
		w.b = append(w.b, e...)
	}
	return w.b
}

// Trace is an entry for a trace buffer of size bytes at addr.
func Trace(addr, size uint32, name string) []byte {
	w := writer{}
	w.u32(2, addr, size, 0)
	return append(w.b, name32(name)...)
}

// Carveout is an entry for memory of size bytes at addr.
func Carveout(addr, size uint32, name string) []byte {
	w := writer{}
	w.u32(0, addr, 0, size, 0, 0)
	return append(w.b, name32(name)...)
}

// DevMem is an entry for a device's registers, size bytes at addr.
func DevMem(addr, size uint32, name string) []byte {
	w := writer{}
	w.u32(1, addr, addr, size, 0, 0)
	return append(w.b, name32(name)...)
}

// Vdev is an entry for a virtio device with this many vrings of num buffers each.
func Vdev(id uint32, vrings uint8, num uint32) []byte {
	w := writer{}
	w.u32(3, id, 0, 0, 0, 0)
	w.b = append(w.b, 0, vrings, 0, 0)
	for range vrings {
		w.u32(0xffffffff, 16, num, 0, 0)
	}
	return w.b
}

// Attributes is a section .ARM.attributes with these pairs of a tag and its value, of
// the whole file; a string belongs to Tag_CPU_name, 5.
func Attributes(cpu string, pairs ...byte) []byte {
	file := append(append([]byte{5}, cpu...), 0)
	file = append(file, pairs...)
	w := writer{b: []byte{'A'}}
	vendor := append([]byte("aeabi\x00"), 1)
	w.u32(uint32(4 + len(vendor) + 4 + len(file)))
	w.b = append(w.b, vendor...)
	w.u32(uint32(1 + 4 + len(file)))
	w.b = append(w.b, file...)
	return w.b
}

func name32(s string) []byte {
	var b [32]byte
	copy(b[:31], s)
	return b[:]
}
