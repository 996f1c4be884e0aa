package firmware

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// ResourceTable is what firmware asks of Linux: include/linux/remoteproc.h,
// struct resource_table and the entries it points to.
type ResourceTable struct {
	Entries []Resource
}

// Resource is one entry of a resource table.
type Resource struct {
	Type ResourceType
	Name string // of carveouts, device memory and traces; else empty
	Addr uint64 // device address of carveouts, device memory and traces
	Len  uint64 // bytes at Addr
}

// ResourceType is enum fw_resource_type.
type ResourceType uint32

// The types that the kernel handles itself.
const (
	Carveout  ResourceType = 0
	DevMem    ResourceType = 1
	Trace     ResourceType = 2
	VirtioDev ResourceType = 3
)

func (t ResourceType) String() string {
	switch t {
	case Carveout:
		return "carveout"
	case DevMem:
		return "devmem"
	case Trace:
		return "trace"
	case VirtioDev:
		return "vdev"
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Traces are the trace buffers of the table, in the order in which the kernel
// numbers them: trace0, trace1, …
func (t *ResourceTable) Traces() []Resource {
	var traces []Resource
	if t == nil {
		return nil
	}
	for _, e := range t.Entries {
		if e.Type == Trace {
			traces = append(traces, e)
		}
	}
	return traces
}

// parseTable applies the rules of find_table and rproc_handle_resources.
func parseTable(b []byte) (*ResourceTable, error) {
	const headerSize = 16 // ver, num, reserved[2]
	le := binary.LittleEndian
	if len(b) < headerSize {
		return nil, formatErrorf("resource table has no header: %d bytes", len(b))
	}
	if v := le.Uint32(b); v != 1 {
		return nil, formatErrorf("resource table has version %d, the kernel knows 1", v)
	}
	if le.Uint32(b[8:]) != 0 || le.Uint32(b[12:]) != 0 {
		return nil, formatErrorf("resource table has reserved bytes that are not zero")
	}
	num := uint64(le.Uint32(b[4:]))
	if headerSize+num*4 > uint64(len(b)) {
		return nil, formatErrorf("resource table is incomplete: %d entries in %d bytes", num, len(b))
	}
	t := &ResourceTable{}
	for i := range num {
		off := uint64(le.Uint32(b[headerSize+i*4:]))
		// the kernel reads a type and a body, and wants the header inside of the table
		if off+4 > uint64(len(b)) {
			return nil, formatErrorf("resource table entry %d is outside of the table, at %#x of %#x", i, off, len(b))
		}
		e, err := parseResource(b[off:])
		if err != nil {
			return nil, formatErrorf("resource table entry %d: %v", i, err)
		}
		t.Entries = append(t.Entries, e)
	}
	return t, nil
}

// parseResource reads the entry at the start of b. The sizes are those of struct
// fw_rsc_carveout, fw_rsc_devmem, fw_rsc_trace and fw_rsc_vdev, with the type.
func parseResource(b []byte) (Resource, error) {
	le := binary.LittleEndian
	e := Resource{Type: ResourceType(le.Uint32(b))}
	layout := map[ResourceType]struct{ size, length, name int }{
		Carveout:  {4 + 20 + 32, 12, 24},
		DevMem:    {4 + 20 + 32, 12, 24},
		Trace:     {4 + 12 + 32, 8, 16},
		VirtioDev: {4 + 24, -1, -1},
	}
	l, known := layout[e.Type]
	if !known {
		return e, nil // the kernel skips what it does not know, with a warning
	}
	if len(b) < l.size {
		return e, fmt.Errorf("%s is cut short: %d bytes, want %d", e.Type, len(b), l.size)
	}
	if l.name >= 0 {
		e.Addr, e.Len = uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[l.length:]))
		e.Name = zeroTerminated(b[l.name:][:32])
	}
	return e, nil
}

func zeroTerminated(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
