package firmware

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// ResourceTable is what firmware asks of Linux: include/linux/remoteproc.h,
// struct resource_table and the entries it points to.
type ResourceTable struct {
	Addr    uint64 // where the firmware expects it, as the core sees it
	Len     uint64 // bytes at Addr
	Entries []Resource
}

// Resource is one entry of a resource table.
type Resource struct {
	Type     ResourceType
	Name     string // of carveouts, device memory and traces; else empty
	Addr     uint64 // device address of carveouts, device memory and traces; may be AnyAddress
	Phys     uint64 // physical address of carveouts and device memory, which the kernel may fill in
	Len      uint64 // bytes at Addr
	Flags    uint32 // of carveouts and device memory: IOMMU protection
	Reserved uint32 // must be zero, or the kernel refuses the entry
	Vdev     *Vdev  // of virtio devices; else nil
}

// AnyAddress as a device address lets the kernel choose (FW_RSC_ADDR_ANY).
const AnyAddress = 0xffffffff

// Vdev is struct fw_rsc_vdev with its vrings.
type Vdev struct {
	ID        uint32 // virtio device ID: 7 is rpmsg
	NotifyID  uint32
	Features  uint32 // of the device
	ConfigLen uint32 // bytes of config space behind the vrings
	Status    uint8
	Num       uint8   // vrings that the entry says it has
	Vrings    []Vring // those inside of the table
	Short     bool    // the vrings and the config space reach past the table's end
}

// Vring is struct fw_rsc_vdev_vring.
type Vring struct {
	Addr     uint64 // device address; may be AnyAddress
	Align    uint32
	Num      uint32 // buffers
	NotifyID uint32
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
func parseTable(b []byte, addr uint64) (*ResourceTable, error) {
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
	t := &ResourceTable{Addr: addr, Len: uint64(len(b))}
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
	layout := [...]struct{ size, length, name int }{
		Carveout:  {4 + 20 + 32, 12, 24},
		DevMem:    {4 + 20 + 32, 12, 24},
		Trace:     {4 + 12 + 32, 8, 16},
		VirtioDev: {4 + 24, -1, -1},
	}
	if int64(e.Type) >= int64(len(layout)) {
		return e, nil // the kernel skips what it does not know, with a warning
	}
	l := layout[e.Type]
	if len(b) < l.size {
		return e, fmt.Errorf("%s is cut short: %d bytes, want %d", e.Type, len(b), l.size)
	}
	if e.Type == VirtioDev {
		e.Vdev = parseVdev(b[4:])
		e.Reserved = uint32(le.Uint16(b[26:]))
		return e, nil
	}
	e.Addr, e.Len = uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[l.length:]))
	e.Name, e.Reserved = zeroTerminated(b[l.name:][:32]), le.Uint32(b[l.name-4:])
	if e.Type != Trace {
		e.Phys, e.Flags = uint64(le.Uint32(b[8:])), le.Uint32(b[16:])
	}
	return e, nil
}

// parseVdev reads a device whose fixed part is known to be there. What it lacks is
// said, not refused: the kernel tells a board better why it cannot boot this.
func parseVdev(b []byte) *Vdev {
	const fixed, vring = 24, 20
	le := binary.LittleEndian
	v := &Vdev{
		ID: le.Uint32(b), NotifyID: le.Uint32(b[4:]), Features: le.Uint32(b[8:]),
		ConfigLen: le.Uint32(b[16:]), Status: b[20], Num: b[21],
	}
	rest := b[fixed:]
	for range v.Num {
		if len(rest) < vring {
			v.Short = true
			return v
		}
		v.Vrings = append(v.Vrings, Vring{uint64(le.Uint32(rest)), le.Uint32(rest[4:]), le.Uint32(rest[8:]), le.Uint32(rest[12:])})
		rest = rest[vring:]
	}
	v.Short = uint64(len(rest)) < uint64(v.ConfigLen)
	return v
}

func zeroTerminated(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
