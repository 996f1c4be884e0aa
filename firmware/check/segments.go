package check

import (
	"strings"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
)

// segments: where the kernel copies to.
func segments(s subject) []firmware.Finding {
	var found []firmware.Finding
	for i, a := range s.file.Segments {
		for _, b := range s.file.Segments[:i] {
			if a.Addr < b.Addr+b.MemSize && b.Addr < a.Addr+a.MemSize {
				found = append(found, warning(Overlap, "segments at %#x (%d bytes) and %#x (%d bytes) overlap: the kernel loads the one over the other",
					b.Addr, b.MemSize, a.Addr, a.MemSize))
				break // one other is enough to look at
			}
		}
		r, ok := regionOf(s.core.Memory, a.Addr)
		if !ok {
			continue
		}
		if r.Kind == board.DDR {
			found = append(found, warning(InDDR, "segment at %#x (%d bytes) is in %s: it loads only where the processor's memory-region in the device tree lists that address",
				a.Addr, a.MemSize, r.Name))
		}
		// imx_rproc_da_to_sys compares with < where it means <=
		if strings.HasPrefix(s.core.Compatible, "fsl,") && r.Kind != board.DDR && a.Addr+a.MemSize == r.End() && !continues(s.core.Memory, r) {
			found = append(found, warning(LastByte, "segment at %#x reaches the last byte of %s: kernels refuse that on i.MX (bad phdr da); leave the region's end out of what is loaded",
				a.Addr, r.Name))
		}
	}
	return found
}

func regionOf(memory []board.Region, addr uint64) (board.Region, bool) {
	for _, r := range memory {
		if r.Contains(addr, 1) {
			return r, true
		}
	}
	return board.Region{}, false
}

// continues reports whether another region goes on where r ends.
func continues(memory []board.Region, r board.Region) bool {
	next, ok := regionOf(memory, r.End())
	return ok && next.Linux == r.Linux+r.Size
}
