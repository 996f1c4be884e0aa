package inspect

import (
	"cmp"
	"slices"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
)

// span is a range of the addresses by which memory is known once: Linux's where there
// are any.
type span struct{ start, end uint64 }

// usage says how much of each region the firmware takes: what the kernel copies and
// zeroes, and what the running program has where (initialised data waits in one place
// and is used in another).
func usage(memory []board.Region, f *firmware.File, sections []firmware.Section) []Region {
	var spans []span
	add := func(addr, size uint64) {
		for size > 0 {
			i := slices.IndexFunc(memory, func(r board.Region) bool { return r.Contains(addr, 1) })
			if i < 0 {
				return
			}
			r := memory[i]
			n, at := min(size, r.End()-addr), physical(r)+(addr-r.Start)
			spans = append(spans, span{at, at + n})
			addr, size = addr+n, size-n
		}
	}
	for _, s := range f.Segments {
		add(s.Addr, s.MemSize)
	}
	for _, s := range sections {
		if s.Loaded() {
			add(s.Addr, s.Size)
		}
	}
	spans = merge(spans)
	regions := []Region{}
	for i, r := range memory {
		start := physical(r)
		region := Region{Name: r.Name, Kind: r.Kind.String(), Address: Address(r.Start), Size: r.Size, Linux: Address(r.Linux)}
		for _, s := range spans {
			if from, to := max(s.start, start), min(s.end, start+r.Size); from < to {
				region.Used += to - from
			}
		}
		for _, other := range memory[:i] {
			if r.Linux != 0 && other.Linux == r.Linux {
				region.AliasOf = other.Name
				break
			}
		}
		regions = append(regions, region)
	}
	return regions
}

func physical(r board.Region) uint64 {
	if r.Linux != 0 {
		return r.Linux
	}
	return r.Start
}

// merge joins spans that touch, so that nothing is counted twice.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var merged []span
	for _, s := range spans {
		if n := len(merged); n > 0 && s.start <= merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}
