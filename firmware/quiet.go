package firmware

import (
	"io"
	"reflect"
	"strings"

	"github.com/hybrid-containers/hybrid/board"
)

// Patch replaces bytes of a file.
type Patch struct {
	Offset int64  `json:"offset"`
	Bytes  []byte `json:"bytes"`
}

// Endless loops that sleep, with interrupts off: Arm Architecture Reference Manuals,
// CPS, WFI and B.
var (
	quietM = []byte{0x72, 0xb6, 0x30, 0xbf, 0xfd, 0xe7} // cpsid i; wfi; b .-2, in Thumb
	quietT = []byte{0x73, 0xb6, 0x30, 0xbf, 0xfd, 0xe7} // cpsid if; wfi; b .-2, in Thumb
	quietA = []byte{0xc0, 0x00, 0x0c, 0xf1, 0x03, 0xf0, 0x20, 0xe3, 0xfd, 0xff, 0xff, 0xea}
)

// Quiet returns what must be changed in the file f, which r holds, so that a core
// that is started with it does nothing: its first instructions become an endless
// sleep. The first instruction is where the ELF file is entered, and on a Cortex-M
// where its vector table says so. The result is empty where none of both is in the
// file, and for cores other than Cortex-M and Cortex-R.
//
// A crashed core is taken to offline by way of a restart on kernels that have no
// other (Processor.Stop of runtime/remoteproc says which). Firmware that drives a
// machine must not run again for it.
func (f *File) Quiet(r io.ReaderAt, core board.Core) []Patch {
	m := strings.HasPrefix(core.MCU, "cortex-m")
	if !m && !strings.HasPrefix(core.MCU, "cortex-r") {
		return nil
	}
	starts := []uint64{f.Entry}
	if v, err := ReadVectors(f, r, core); m && err == nil && v != nil && v.Found {
		starts = append(starts, uint64(v.Reset))
	}
	var patches []Patch
	for i, start := range starts {
		code := quietM
		switch {
		case m:
		case start&1 != 0:
			code = quietT
		default:
			code = quietA
		}
		offset, ok := f.fileOffset(start&^1, uint64(len(code)))
		if ok && (i == 0 || len(patches) == 0 || patches[0].Offset != offset) {
			patches = append(patches, Patch{offset, code})
		}
	}
	return patches
}

// fileOffset is where n bytes at addr are in the file.
func (f *File) fileOffset(addr, n uint64) (int64, bool) {
	for _, s := range f.Segments {
		if addr >= s.Addr && addr-s.Addr <= s.FileSize && n <= s.FileSize-(addr-s.Addr) {
			return int64(s.Offset + addr - s.Addr), true
		}
	}
	return 0, false
}

// Survives reports whether the file f, the first size bytes of r, says the same of
// itself once it is patched. What the kernel cannot load any more must not be given to
// it for a restart.
func (f *File) Survives(r io.ReaderAt, size int64, patches []Patch) bool {
	patched, err := Parse(&overlay{r, patches}, size)
	return err == nil && reflect.DeepEqual(patched, f)
}

// overlay is a file with patches.
type overlay struct {
	io.ReaderAt
	patches []Patch
}

func (o *overlay) ReadAt(b []byte, at int64) (int, error) {
	n, err := o.ReaderAt.ReadAt(b, at)
	for _, p := range o.patches {
		for i, c := range p.Bytes {
			if to := p.Offset + int64(i) - at; to >= 0 && to < int64(n) {
				b[to] = c
			}
		}
	}
	return n, err
}
