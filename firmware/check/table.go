package check

import (
	"fmt"

	"github.com/hybrid-containers/hybrid/firmware"
)

// maxVrings is RVDEV_NUM_VRINGS of include/linux/remoteproc.h.
const maxVrings = 2

// table: what rproc_handle_resources makes of the resource table.
func table(s subject) []firmware.Finding {
	t := s.file.Table
	if t == nil {
		return nil // File.Check says that
	}
	if len(t.Entries) == 0 {
		return []firmware.Finding{warning(EmptyTable, "the resource table is empty: no trace buffer, so no logs (hybrid-runtime logs, docker logs)")}
	}
	var found []firmware.Finding
	devices := false
	for i, e := range t.Entries {
		what := fmt.Sprintf("resource table entry %d (%s)", i, e.Type)
		if e.Name != "" {
			what = fmt.Sprintf("resource table entry %d (%s %q)", i, e.Type, e.Name)
		}
		if e.Reserved != 0 && e.Type <= firmware.VirtioDev {
			found = append(found, fatal(BadEntry, "%s has reserved bytes that are not zero: the kernel does not boot it", what))
		}
		switch e.Type {
		case firmware.Trace, firmware.Carveout:
			outside := e.Addr != firmware.AnyAddress && s.core.Memory != nil && !within(s, e.Addr, e.Len)
			if outside || (e.Type == firmware.Trace && e.Len == 0) {
				found = append(found, warning(BufferOutside, "%s is %d bytes at %#x, which is not in the memory of %s", what, e.Len, e.Addr, s.core.MCU))
			}
		case firmware.VirtioDev:
			devices = true
			found = append(found, vdev(what, e.Vdev)...)
		}
	}
	if len(t.Traces()) == 0 {
		found = append(found, warning(NoTrace, "the resource table has no trace buffer, so there are no logs (hybrid-runtime logs, docker logs)"))
	}
	// Linux answers a device through the table where the firmware has it
	if devices && !s.file.Holds(s.core, t.Addr) {
		found = append(found, warning(TableNotLoaded, "the resource table is at %#x, outside of what is loaded: the firmware never sees that Linux has set up its virtio device; keep section .resource_table in a loaded segment", t.Addr))
	}
	return found
}

func within(s subject, addr, size uint64) bool {
	r, ok := regionOf(s.core.Memory, addr)
	for ok && !r.Contains(addr, size) && continues(s.core.Memory, r) {
		size -= r.End() - addr
		addr = r.End()
		r, ok = regionOf(s.core.Memory, addr)
	}
	return ok && r.Contains(addr, size)
}

func vdev(what string, v *firmware.Vdev) []firmware.Finding {
	var found []firmware.Finding
	if v.Short {
		found = append(found, fatal(BadEntry, "%s reaches past the end of the table: the kernel does not boot it", what))
	}
	if v.Num > maxVrings {
		found = append(found, fatal(BadEntry, "%s has %d vrings, the kernel takes %d", what, v.Num, maxVrings))
	}
	for i, r := range v.Vrings {
		switch {
		case r.Num == 0 || r.Align == 0:
			found = append(found, fatal(BadEntry, "%s: vring %d has %d buffers, aligned to %d: the kernel does not boot it", what, i, r.Num, r.Align))
		case r.Num&(r.Num-1) != 0 || r.Align&(r.Align-1) != 0:
			found = append(found, warning(BadVring, "%s: vring %d has %d buffers, aligned to %d: both must be powers of two, or there is no rpmsg", what, i, r.Num, r.Align))
		}
	}
	return found
}
