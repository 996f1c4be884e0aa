package sysfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
)

// The layout of include/linux/remoteproc.h. Sizes are those of a resource's body,
// without the type before it.
const (
	tableHeader  = 16 // ver, num, reserved[2]
	typeSize     = 4
	carveoutSize = 20 + 32 // da, pa, len, flags, reserved, name
	devmemSize   = 20 + 32
	traceSize    = 12 + 32 // da, len, reserved, name
	vdevSize     = 24      // id, notifyid, dfeatures, gfeatures, config_len, status, num_of_vrings, reserved[2]
	vringSize    = 20      // da, align, num, notifyid, pa
	anyAddress   = 0xffffffff
	maxVrings    = 2
)

const (
	typeCarveout = iota
	typeDevmem
	typeTrace
	typeVdev
)

// trace is a trace buffer which firmware declared: debugfs' traceN.
type trace struct {
	addr, size uint64
	inode      uint64 // of its file; another one for every boot
}

// resources are what a resource table asks for.
type resources struct {
	traces    []trace
	carveouts []board.Region // beyond the memories that the core has
}

// handle is rproc_handle_resources: what the kernel makes of a table that table()
// accepted. Virtio devices are checked, and then not there.
func handle(table []byte, memories []board.Region) (resources, error) {
	var r resources
	le := binary.LittleEndian
	for i := range uint64(le.Uint32(table[4:])) {
		offset := uint64(le.Uint32(table[tableHeader+4*i:]))
		if offset+typeSize > uint64(len(table)) {
			return r, errorf(unix.EINVAL, "rsc table is truncated")
		}
		b := table[offset+typeSize:]
		switch le.Uint32(table[offset:]) {
		case typeCarveout:
			if len(b) < carveoutSize {
				return r, errorf(unix.EINVAL, "carveout rsc is truncated")
			}
			if le.Uint32(b[16:]) != 0 {
				return r, errorf(unix.EINVAL, "carveout rsc has non zero reserved bytes")
			}
			c := board.Region{Name: cString(b[20:][:32]), Start: uint64(le.Uint32(b)), Size: uint64(le.Uint32(b[8:]))}
			known, err := checkCarveout(c, append(memories[:len(memories):len(memories)], r.carveouts...))
			if err != nil {
				return r, err
			}
			if !known {
				r.carveouts = append(r.carveouts, c)
			}
		case typeDevmem:
			// only for cores behind an IOMMU, which none of those here is; the kernel says nothing
			return r, fmt.Errorf("devmem rsc without an IOMMU: %w", unix.EINVAL)
		case typeTrace:
			if len(b) < traceSize {
				return r, errorf(unix.EINVAL, "trace rsc is truncated")
			}
			if le.Uint32(b[8:]) != 0 {
				return r, errorf(unix.EINVAL, "trace rsc has non zero reserved bytes")
			}
			r.traces = append(r.traces, trace{addr: uint64(le.Uint32(b)), size: uint64(le.Uint32(b[4:]))})
		case typeVdev:
			if err := checkVdev(b); err != nil {
				return r, err
			}
		}
		// any other type is skipped, with a warning
	}
	return r, nil
}

// checkCarveout tells whether a carveout is one of the memories, by name; then it
// must lie inside of it: rproc_check_carveout_da.
func checkCarveout(c board.Region, memories []board.Region) (known bool, err error) {
	for _, m := range memories {
		if m.Name != c.Name {
			continue
		}
		if c.Size > m.Size || c.Start != anyAddress && !m.Contains(c.Start, c.Size) {
			return true, errorf(unix.ENOMEM, "Registered carveout doesn't fit da request")
		}
		return true, nil
	}
	return false, nil
}

func checkVdev(b []byte) error {
	if len(b) < vdevSize {
		return errorf(unix.EINVAL, "vdev rsc is truncated")
	}
	le := binary.LittleEndian
	config, vrings := uint64(le.Uint32(b[16:])), uint64(b[21])
	if vdevSize+vrings*vringSize+config > uint64(len(b)) {
		return errorf(unix.EINVAL, "vdev rsc is truncated")
	}
	if b[22] != 0 || b[23] != 0 {
		return errorf(unix.EINVAL, "vdev rsc has non zero reserved bytes")
	}
	if vrings > maxVrings {
		return errorf(unix.EINVAL, "too many vrings: %d", vrings)
	}
	// vrings without buffers or alignment are seen by the device's driver, too late
	return nil
}

// describe is debugfs' resource_table: rproc_rsc_table_show.
func describe(table []byte) string {
	if table == nil {
		return "No resource table found\n"
	}
	var s strings.Builder
	le := binary.LittleEndian
	for i := range uint64(le.Uint32(table[4:])) {
		b := table[le.Uint32(table[tableHeader+4*i:]):]
		typ, b := le.Uint32(b), b[typeSize:]
		word := func(i int) uint32 { return le.Uint32(b[4*i:]) }
		if typ <= typeVdev {
			fmt.Fprintf(&s, "Entry %d is of type %s\n", i, [...]string{"carveout", "devmem", "trace", "vdev"}[typ])
		}
		switch typ {
		case typeCarveout, typeDevmem:
			fmt.Fprintf(&s, "  Device Address 0x%x\n  Physical Address 0x%x\n  Length 0x%x Bytes\n  Flags 0x%x\n  Reserved (should be zero) [%d]\n  Name %s\n\n",
				word(0), word(1), word(2), word(3), word(4), cString(b[20:][:32]))
		case typeTrace:
			fmt.Fprintf(&s, "  Device Address 0x%x\n  Length 0x%x Bytes\n  Reserved (should be zero) [%d]\n  Name %s\n\n",
				word(0), word(1), word(2), cString(b[12:][:32]))
		case typeVdev:
			fmt.Fprintf(&s, "  ID %d\n  Notify ID %d\n  Device features 0x%x\n  Guest features 0x%x\n  Config length 0x%x\n  Status 0x%x\n  Number of vrings %d\n  Reserved (should be zero) [%d][%d]\n\n",
				word(0), word(1), word(2), word(3), word(4), b[20], b[21], b[22], b[23])
			for j := range int(b[21]) {
				vring := func(i int) uint32 { return le.Uint32(b[vdevSize+vringSize*j+4*i:]) }
				fmt.Fprintf(&s, "  Vring %d\n    Device Address 0x%x\n    Alignment %d\n    Number of buffers %d\n    Notify ID %d\n    Physical Address 0x%x\n\n",
					j, vring(0), vring(1), vring(2), vring(3), vring(4))
			}
		default:
			fmt.Fprintf(&s, "Unknown resource type found: %d [hdr: 0x0]\n", typ)
		}
	}
	return s.String()
}

// cString is b up to its first zero.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
