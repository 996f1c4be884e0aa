package sysfs

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs/kmsg"
)

const (
	// dumpTime is DEVCD_TIMEOUT: a core dump that nobody takes goes by itself.
	dumpTime = 5 * time.Minute
	// maxDumped is the largest memory that is in a core dump. Drivers dump the memories
	// of the core, and not what it shares with Linux.
	maxDumped = 16 << 20
	// sharedBuffers is the memory that stm32_rproc leaves out.
	sharedBuffers = "vdev0buffer"
)

// dumps is drivers/base/devcoredump.c.
type dumps struct {
	kept time.Duration // for so long

	mu       sync.Mutex
	disabled bool
	count    int
	list     []*dump
}

// dump is a device devcdN.
type dump struct {
	core     *Core
	header   []byte
	segments []dumped
	memory   memory
	size     int64
	gone     chan struct{} // closed when it was freed
	timer    *time.Timer

	inClass, device, ofCore *liveEntry
}

// dumped is a program header of a dump.
type dumped struct {
	board.Region
	mapped bool // else there is nothing to read, and the dump has ones
}

// add makes a device of a dump, unless its core has one already. A dump that is not
// taken is freed at once.
func (d *dumps) add(new *dump) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := new.core
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.disabled || c.dump != nil {
		close(new.gone)
		return
	}
	d.count++
	name, node := fmt.Sprintf("devcd%d", d.count), c.config.NodeName
	free := func() { d.free(new) }
	device := newFolder(0o755).
		addFile(&file{name: "data", mode: 0o600, readAt: func(b []byte, off int64) (int, error) { return new.readAt(b, off) }, store: func(context.Context, string) error {
			free()
			return nil
		}}).
		addLink("failing_device", fmt.Sprintf("../../../platform/%s/remoteproc/%s", node, c.instance)).
		addLink("subsystem", "../../../../class/devcoredump").
		addFile(&file{name: "uevent", mode: 0o644, size: attributeSize, show: constant(""), store: storeUevent})
	new.inClass = liveLink(name, "../../devices/virtual/devcoredump/"+name)
	new.device = liveFolder(name, device)
	new.ofCore = liveLink("devcoredump", "../../../../virtual/devcoredump/"+name)
	new.timer = time.AfterFunc(d.kept, free)
	c.dump = new
	d.list = append(d.list, new)
}

// free takes the device away.
func (d *dumps) free(old *dump) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.list, old)
	if i < 0 {
		return // two did so at once
	}
	d.list = slices.Delete(d.list, i, i+1)
	old.timer.Stop()
	old.core.mu.Lock()
	old.core.dump = nil
	old.core.mu.Unlock()
	close(old.gone)
}

func (d *dumps) entries(of func(*dump) *liveEntry) []*liveEntry {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*liveEntry
	for _, each := range d.list {
		list = append(list, of(each))
	}
	return list
}

// disabledFile can only ever switch core dumps off.
func (d *dumps) disabledFile() *file {
	return &file{
		name: "disabled", mode: 0o644, size: attributeSize,
		show: text(func() string {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.disabled {
				return "1\n"
			}
			return "0\n"
		}),
		store: func(_ context.Context, value string) error {
			if strings.TrimSuffix(value, "\n") != "1" {
				return unix.EINVAL
			}
			d.mu.Lock()
			d.disabled = true
			list := slices.Clone(d.list)
			d.mu.Unlock()
			for _, old := range list {
				d.free(old)
			}
			return nil
		},
	}
}

// dumpLink is the link from a processor to its dump.
func (c *Core) dumpLink() []*liveEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dump == nil {
		return nil
	}
	return []*liveEntry{c.dump.ofCore}
}

// dumpCore is rproc_coredump, on the way out of a crash. An inline dump waits until
// somebody has freed it: the core does not come back before. The caller has the lock.
func (c *Core) dumpCore() error {
	c.mu.Lock()
	mode := c.coredump
	if mode == "disabled" {
		c.mu.Unlock()
		return nil
	}
	new := &dump{core: c, memory: c.memory.copy(), gone: make(chan struct{})}
	for _, r := range c.config.Memory {
		if r.Size <= maxDumped && r.Name != sharedBuffers {
			new.segments = append(new.segments, dumped{r, true})
		}
	}
	for _, t := range c.traces {
		new.segments = append(new.segments, dumped{board.Region{Start: t.addr, Size: t.size}, c.maps(t.addr, t.size)})
	}
	new.header = coreHeader(c.entry, new.segments)
	c.mu.Unlock()
	if len(new.segments) == 0 {
		return nil
	}
	new.size = int64(len(new.header))
	for _, s := range new.segments {
		new.size += int64(s.Size)
	}
	c.kernel.dumps.add(new)
	if mode != "inline" {
		return nil
	}
	select {
	case <-new.gone:
		return nil
	case <-c.done:
		return unix.ESHUTDOWN
	}
}

// coreHeader are the headers of a core file: 32 bit and of no machine, which is what
// stm32_rproc asks for.
func coreHeader(entry uint64, segments []dumped) []byte {
	const header, program = 52, 32
	le := binary.LittleEndian
	b := []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT), elf.EI_NIDENT - 1: 0}
	b = le.AppendUint16(b, uint16(elf.ET_CORE))
	b = le.AppendUint16(b, uint16(elf.EM_NONE))
	for _, word := range []uint32{uint32(elf.EV_CURRENT), uint32(entry), header, 0, 0} { // version, entry, phoff, shoff, flags
		b = le.AppendUint32(b, word)
	}
	for _, half := range []int{header, program, len(segments), 0, 0, 0} {
		b = le.AppendUint16(b, uint16(half))
	}
	offset := header + program*uint64(len(segments))
	for _, s := range segments {
		for _, word := range []uint64{uint64(elf.PT_LOAD), offset, s.Start, s.Start, s.Size, s.Size, uint64(elf.PF_R | elf.PF_W | elf.PF_X), 0} {
			b = le.AppendUint32(b, uint32(word))
		}
		offset += s.Size
	}
	return b
}

// readAt reads the file's bytes. One that was freed is gone for those who have it open.
func (d *dump) readAt(b []byte, off int64) (int, error) {
	select {
	case <-d.gone:
		return 0, unix.ENODEV
	default:
	}
	if off >= d.size {
		d.core.mu.Lock()
		inline := d.core.coredump == "inline"
		d.core.mu.Unlock()
		if inline {
			d.core.printk(kmsg.Info, "Ramdump done, %d bytes read", off)
		}
		return 0, nil
	}
	n := 0
	if off < int64(len(d.header)) {
		n = copy(b, d.header[off:])
	}
	at := int64(len(d.header))
	for _, s := range d.segments {
		if from := off + int64(n) - at; from >= 0 && from < int64(s.Size) && n < len(b) {
			part := b[n:][:min(int64(len(b)-n), int64(s.Size)-from)]
			if s.mapped {
				d.memory.readAt(part, s.Start+uint64(from))
			} else {
				copy(part, bytes.Repeat([]byte{0xff}, len(part)))
			}
			n += len(part)
		}
		at += int64(s.Size)
	}
	return n, nil
}
