package sysfs

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// image is a firmware file as drivers/remoteproc/remoteproc_elf_loader.c sees it.
// That is less than ELF says: it knows no machine, steps over tables by the size of
// its own records whatever the header says, and of sections only .resource_table.
//
// It is not package firmware, which refuses what cannot be meant. This one must
// accept what the kernel accepts. Where the kernel would read past the end of the
// file (a program header table that does not fit, a section name outside) there is
// nothing to imitate, and the answer is EINVAL.
type image struct {
	data  []byte
	class elf.Class
}

// kernelError is an errno and what the kernel logs with it.
type kernelError struct {
	errno syscall.Errno
	words string
}

func (e *kernelError) Error() string { return e.words + ": " + e.errno.Error() }
func (e *kernelError) Unwrap() error { return e.errno }

func errorf(errno syscall.Errno, format string, args ...any) error {
	return &kernelError{errno, fmt.Sprintf(format, args...)}
}

// sizes of the records of either class
type recordSizes struct{ header, program, section uint64 }

func (m *image) sizes() recordSizes {
	if m.class == elf.ELFCLASS32 {
		return recordSizes{52, 32, 40}
	}
	return recordSizes{64, 56, 64}
}

// parse is rproc_elf_sanity_check.
func parse(data []byte) (*image, error) {
	if len(data) < 52 {
		return nil, errorf(unix.EINVAL, "Image is too small")
	}
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil, errorf(unix.EINVAL, "Image is corrupted (bad magic)")
	}
	m := &image{data: data, class: elf.Class(data[elf.EI_CLASS])}
	if m.class != elf.ELFCLASS32 && m.class != elf.ELFCLASS64 {
		return nil, errorf(unix.EINVAL, "Unsupported class: %d", data[elf.EI_CLASS])
	}
	if uint64(len(data)) < m.sizes().header {
		return nil, errorf(unix.EINVAL, "elf64 header is too small")
	}
	if elf.Data(data[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, errorf(unix.EINVAL, "Unsupported firmware endianness")
	}
	h := m.header()
	// room for one section header is wanted even where the header says there is none
	if !m.fits(h.shoff, m.sizes().section) {
		return nil, errorf(unix.EINVAL, "Image is too small")
	}
	if h.phnum == 0 {
		return nil, errorf(unix.EINVAL, "No loadable segments")
	}
	if h.phoff > uint64(len(data)) {
		return nil, errorf(unix.EINVAL, "Firmware size is too small")
	}
	return m, nil
}

// fits reports whether n bytes at off lie inside the file.
func (m *image) fits(off, n uint64) bool {
	size := uint64(len(m.data))
	return off <= size && n <= size-off
}

type elfHeader struct {
	entry                  uint64
	phoff, shoff           uint64
	phnum, shnum, shstrndx uint16
}

func (m *image) header() elfHeader {
	le := binary.LittleEndian
	if m.class == elf.ELFCLASS32 {
		return elfHeader{
			entry: uint64(le.Uint32(m.data[24:])),
			phoff: uint64(le.Uint32(m.data[28:])), shoff: uint64(le.Uint32(m.data[32:])),
			phnum: le.Uint16(m.data[44:]), shnum: le.Uint16(m.data[48:]), shstrndx: le.Uint16(m.data[50:]),
		}
	}
	return elfHeader{
		entry: le.Uint64(m.data[24:]),
		phoff: le.Uint64(m.data[32:]), shoff: le.Uint64(m.data[40:]),
		phnum: le.Uint16(m.data[56:]), shnum: le.Uint16(m.data[60:]), shstrndx: le.Uint16(m.data[62:]),
	}
}

// segment is a PT_LOAD: bytes for addr, followed by zeroes up to size.
type segment struct {
	addr, size uint64
	data       []byte
}

// segments are the PT_LOADs with a size in memory, checked as
// rproc_elf_load_segments does, one at a time: those before a bad one are loaded.
func (m *image) segments(load func(segment) error) error {
	h, sizes, le := m.header(), m.sizes(), binary.LittleEndian
	for i := range uint64(h.phnum) {
		off := h.phoff + i*sizes.program
		if !m.fits(off, sizes.program) {
			return errorf(unix.EINVAL, "program header %d is outside of the file", i)
		}
		b := m.data[off:]
		var offset, addr, filesz, memsz uint64
		if m.class == elf.ELFCLASS32 {
			offset, addr = uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[12:]))
			filesz, memsz = uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[20:]))
		} else {
			offset, addr = le.Uint64(b[8:]), le.Uint64(b[24:])
			filesz, memsz = le.Uint64(b[32:]), le.Uint64(b[40:])
		}
		if elf.ProgType(le.Uint32(b)) != elf.PT_LOAD || memsz == 0 {
			continue
		}
		if filesz > memsz {
			return errorf(unix.EINVAL, "bad phdr filesz %#x memsz %#x", filesz, memsz)
		}
		if !m.fits(offset, filesz) {
			return errorf(unix.EINVAL, "truncated fw: need %#x avail %#x", offset+filesz, len(m.data))
		}
		if err := load(segment{addr, memsz, m.data[offset:][:filesz]}); err != nil {
			return err
		}
	}
	return nil
}

// errNoTable is the one refusal of a table about which the kernel says nothing.
var errNoTable = fmt.Errorf("no resource table: %w", unix.EINVAL)

// table is the section .resource_table, found and checked as find_table does, and
// the address that its section header gives it.
func (m *image) table() (table []byte, addr uint64, err error) {
	h, sizes, le := m.header(), m.sizes(), binary.LittleEndian
	section := func(i uint64) (name uint32, addr, offset, size uint64, ok bool) {
		off := h.shoff + i*sizes.section
		if !m.fits(off, sizes.section) {
			return 0, 0, 0, 0, false
		}
		b := m.data[off:]
		if m.class == elf.ELFCLASS32 {
			return le.Uint32(b), uint64(le.Uint32(b[12:])), uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[20:])), true
		}
		return le.Uint32(b), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]), true
	}
	_, _, names, _, ok := section(uint64(h.shstrndx))
	if !ok && h.shnum > 0 {
		return nil, 0, errorf(unix.EINVAL, "section names are outside of the file")
	}
	for i := range uint64(h.shnum) {
		name, addr, offset, size, ok := section(i)
		if !ok {
			return nil, 0, errorf(unix.EINVAL, "section header %d is outside of the file", i)
		}
		if !m.stringIs(names, uint64(name), ".resource_table\x00") {
			continue
		}
		if !m.fits(offset, size) {
			return nil, 0, errorf(unix.EINVAL, "resource table truncated")
		}
		table := m.data[offset:][:size]
		if size < tableHeader {
			return nil, 0, errorf(unix.EINVAL, "header-less resource table")
		}
		if v := le.Uint32(table); v != 1 {
			return nil, 0, errorf(unix.EINVAL, "unsupported fw ver: %d", v)
		}
		if le.Uint32(table[8:]) != 0 || le.Uint32(table[12:]) != 0 {
			return nil, 0, errorf(unix.EINVAL, "non zero reserved bytes")
		}
		if tableHeader+4*uint64(le.Uint32(table[4:])) > size {
			return nil, 0, errorf(unix.EINVAL, "resource table incomplete")
		}
		return table, addr, nil
	}
	return nil, 0, errNoTable
}

// stringIs reports whether want, with its zero, is at names+off of the file.
func (m *image) stringIs(names, off uint64, want string) bool {
	return m.fits(names, off) && m.fits(names+off, uint64(len(want))) &&
		string(m.data[names+off:][:len(want)]) == want
}
