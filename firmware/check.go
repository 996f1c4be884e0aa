package firmware

import (
	"debug/elf"
	"fmt"
	"strings"

	"github.com/hybrid-containers/hybrid/board"
)

// Check tells whether core can run the firmware: fatal findings first.
func (f *File) Check(core board.Core) []Finding {
	var fatal, warnings []Finding
	if f.Machine != core.Machine || f.Class != classOf(core.Machine) {
		fatal = append(fatal, Finding{WrongMachine, true, fmt.Sprintf("wrong machine for %s: the ELF file is for %s, %s bit; the core needs %s, %s bit",
			core.MCU, machineName(f.Machine), bits(f.Class), machineName(core.Machine), bits(classOf(core.Machine)))})
	}
	if len(f.Segments) == 0 {
		fatal = append(fatal, Finding{NothingToLoad, true, "no loadable segment, so nothing would run"})
	}
	for _, s := range f.Segments {
		if core.Memory != nil && !inMemory(core.Memory, s) {
			fatal = append(fatal, Finding{OutsideOfMemory, true, fmt.Sprintf("segment at %#x (%d bytes) is outside of the memory of %s: %s",
				s.Addr, s.MemSize, core.MCU, describe(core.Memory))})
		}
	}
	if f.Table == nil {
		warnings = append(warnings, Finding{NoResourceTable, false, "no resource table (section .resource_table): no trace output, and some kernels refuse the firmware or oops"})
	}
	return append(fatal, warnings...)
}

// inMemory reports whether a segment lies in the core's memory; two regions that
// follow each other are one to the kernel.
func inMemory(memory []board.Region, s Segment) bool {
	addr, size := s.Addr, s.MemSize
	for range memory {
		rest := size
		for _, r := range memory {
			if r.Contains(addr, 1) {
				rest -= min(rest, r.End()-addr)
				addr = r.End()
				break
			}
		}
		if rest == 0 || rest == size {
			return rest == 0
		}
		size = rest
	}
	return false
}

func describe(memory []board.Region) string {
	var names []string
	for _, r := range memory {
		names = append(names, fmt.Sprintf("%s %#x-%#x", r.Name, r.Start, r.Start+r.Size-1))
	}
	return strings.Join(names, ", ")
}

// classOf is the ELF class of a machine's firmware.
func classOf(m elf.Machine) elf.Class {
	if m == elf.EM_AARCH64 {
		return elf.ELFCLASS64
	}
	return elf.ELFCLASS32
}

func bits(c elf.Class) string {
	if c == elf.ELFCLASS64 {
		return "64"
	}
	return "32"
}

// machineName names the machines that people mix up; a table of all would be
// debug/elf's, which costs the runtime 20 KB.
func machineName(m elf.Machine) string {
	switch m {
	case elf.EM_ARM:
		return "Arm"
	case elf.EM_AARCH64:
		return "AArch64"
	case elf.EM_X86_64:
		return "x86-64"
	case elf.EM_386:
		return "x86"
	case elf.EM_RISCV:
		return "RISC-V"
	}
	return fmt.Sprintf("machine %d", uint16(m))
}
