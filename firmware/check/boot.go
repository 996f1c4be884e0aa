package check

import (
	"slices"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
)

// boot: what the core starts with.
func boot(s subject) []firmware.Finding {
	if len(s.file.Segments) == 0 {
		return nil
	}
	v := s.vectors
	if v == nil {
		// the rest start at the entry point, or where we do not know
		if s.file.Entry != 0 && !s.file.Holds(s.core, s.file.Entry&^1) {
			return []firmware.Finding{warning(EntryNotLoaded, "entry point %#x is outside of what is loaded: set ENTRY in the linker script", s.file.Entry)}
		}
		return nil
	}
	if !v.Found {
		if slices.ContainsFunc(s.file.Segments, func(seg firmware.Segment) bool { return elsewhere(s.core.Memory, seg.Addr) }) {
			return nil // somebody may have put two words there that lead to it
		}
		return []firmware.Finding{fatal(NothingAtBoot, "nothing is loaded at %#x, where %s finds its stack pointer and first instruction: put the vector table there (the entry point of the ELF file is not looked at)",
			v.Addr, s.core.MCU)}
	}
	var found []firmware.Finding
	reset := uint64(v.Reset &^ 1)
	switch {
	case v.Reset&1 == 0:
		found = append(found, fatal(NotThumb, "the reset vector at %#x is %#x, which is not the address of a Thumb function (bit 0 is clear): %s would fault at its first instruction; is the vector table the first thing that is loaded?",
			v.Addr+4, v.Reset, s.core.MCU))
	case !s.file.Holds(s.core, reset) && !elsewhere(s.core.Memory, reset):
		found = append(found, fatal(ResetNotLoaded, "the reset vector at %#x leads to %#x, where nothing is loaded; is the vector table the first thing that is loaded?", v.Addr+4, reset))
	}
	// the stack grows down from the pointer, which may be the first address behind a region
	if r, ok := regionOf(s.core.Memory, uint64(v.Stack)-4); v.Stack < 4 || !ok || r.Kind == board.Flash {
		found = append(found, warning(StackOutside, "the initial stack pointer at %#x is %#x, which is not in RAM of %s", v.Addr, v.Stack, s.core.MCU))
	}
	return found
}

// elsewhere reports whether what is at addr may have got there by other means than
// this firmware's segments.
func elsewhere(memory []board.Region, addr uint64) bool {
	r, ok := regionOf(memory, addr)
	return ok && (r.Kind == board.Flash || r.Kind == board.DDR)
}
