package firmware

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/hybrid-containers/hybrid/board"
)

// Vectors are the first two words of a Cortex-M's vector table, which is what the
// core starts with (Armv7-M Architecture Reference Manual, B1.5.5). The entry point
// of the ELF file says nothing to it.
type Vectors struct {
	Addr  uint64 // of the table, as the core sees it
	Stack uint32 // initial stack pointer
	Reset uint32 // first instruction; bit 0 says Thumb
	Found bool   // something is loaded at Addr
}

// ReadVectors reads what core starts with out of f, which r holds. The result is nil
// for a core of which it is not known where it looks.
func ReadVectors(f *File, r io.ReaderAt, core board.Core) (*Vectors, error) {
	for _, boot := range core.Memory {
		if boot.Kind != board.Boot {
			continue
		}
		v := &Vectors{Addr: boot.Start}
		for _, s := range f.Segments {
			at, ok := alias(core.Memory, s.Addr, boot.Linux)
			if !ok || at < s.Addr || at-s.Addr >= s.MemSize {
				continue
			}
			var b [8]byte // what the file does not hold is zeroed memory
			off := at - s.Addr
			if n := min(uint64(len(b)), s.FileSize-min(off, s.FileSize)); n > 0 {
				if _, err := r.ReadAt(b[:n], int64(s.Offset+off)); err != nil && err != io.EOF {
					return nil, fmt.Errorf("reading firmware: %w", err)
				}
			}
			v.Stack, v.Reset, v.Found = binary.LittleEndian.Uint32(b[:]), binary.LittleEndian.Uint32(b[4:]), true
		}
		return v, nil
	}
	return nil, nil
}

// alias is the address that linux has in the view of memory that addr belongs to.
func alias(memory []board.Region, addr, linux uint64) (uint64, bool) {
	for _, r := range memory {
		if r.Contains(addr, 1) && linux >= r.Linux && linux-r.Linux < r.Size {
			return r.Start + (linux - r.Linux), true
		}
	}
	return 0, false
}

// Holds reports whether the byte at addr is loaded, through any view of the memory.
func (f *File) Holds(core board.Core, addr uint64) bool {
	for _, s := range f.Segments {
		if addr >= s.Addr && addr-s.Addr < s.MemSize {
			return true
		}
	}
	for _, r := range core.Memory {
		if !r.Contains(addr, 1) || r.Linux == 0 {
			continue
		}
		for _, s := range f.Segments {
			if at, ok := alias(core.Memory, s.Addr, r.Linux+(addr-r.Start)); ok && at >= s.Addr && at-s.Addr < s.MemSize {
				return true
			}
		}
	}
	return false
}
