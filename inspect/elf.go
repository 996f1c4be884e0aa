package inspect

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"slices"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/firmware/check"
)

// coreOf is the core of a target, as far as the catalogue knows it; an empty target
// is no error.
func coreOf(t Target) (*board.Core, *Core, error) {
	if t.Board == "" {
		return nil, nil, nil
	}
	b, err := board.Lookup(t.Board)
	if err != nil {
		return nil, nil, err
	}
	core, err := b.Core(t.MCU)
	if err != nil {
		return nil, nil, err
	}
	return core, &Core{b.Name(), core.MCU, core.Compatible}, nil
}

// inspectELF reads a firmware. What the kernel would not load gives a report with
// that finding alone.
func inspectELF(path string, content []byte, target Target) (Firmware, error) {
	sum := sha256.Sum256(content)
	fw := Firmware{Path: path, SHA256: hex.EncodeToString(sum[:]), Segments: []Segment{}, Sizes: Sizes{File: uint64(len(content))}}
	core, named, err := coreOf(target)
	if err != nil {
		return fw, err
	}
	fw.Core = named
	r, size := bytes.NewReader(content), int64(len(content))
	f, found, err := check.Parse(r, size)
	if err != nil || f == nil {
		fw.Findings = findings(found)
		return fw, err
	}
	sections, err := firmware.Sections(r, size)
	if err != nil {
		return fw, err
	}
	fw.header(f)
	if a, err := firmware.ReadAttributes(f, r, sections); err == nil && a != nil {
		fw.Arm = &Arm{a.CPU, a.ArchName(), a.FloatABI(), a.FPName()}
	}
	fw.sizes(f, sections)
	fw.table(f.Table)
	if core == nil {
		fw.segments(f, nil)
		fw.Findings = []Finding{}
		return fw, nil
	}
	fw.segments(f, core.Memory)
	fw.Memory = usage(core.Memory, f, sections)
	v, err := firmware.ReadVectors(f, r, *core)
	if err != nil {
		return fw, err
	}
	if v != nil && v.Found {
		fw.Boot = &Boot{Address(v.Addr), Address(v.Stack), Address(v.Reset)}
	}
	if found, err = check.Firmware(f, r, size, *core); err != nil {
		return fw, err
	}
	fw.Findings = findings(found)
	return fw, nil
}

func (fw *Firmware) header(f *firmware.File) {
	fw.Machine, fw.Entry, fw.Class = f.Machine.String(), Address(f.Entry), 32
	if f.Class == elf.ELFCLASS64 {
		fw.Class = 64
	}
}

// sizes counts as size(1) does, rodata apart. Without sections the segments' flags
// have to do.
func (fw *Firmware) sizes(f *firmware.File, sections []firmware.Section) {
	s := &fw.Sizes
	for _, seg := range f.Segments {
		s.Loaded += seg.FileSize
	}
	for _, sec := range sections {
		switch {
		case check.IsDebug(sec):
			s.Debug += sec.Size
		case !sec.Loaded():
		case sec.Type == elf.SHT_NOBITS:
			s.BSS += sec.Size
		case sec.Flags&elf.SHF_EXECINSTR != 0:
			s.Code += sec.Size
		case sec.Flags&elf.SHF_WRITE != 0:
			s.Data += sec.Size
		default:
			s.ROData += sec.Size
		}
	}
	if slices.ContainsFunc(sections, firmware.Section.Loaded) {
		return
	}
	for _, seg := range f.Segments {
		s.BSS += seg.MemSize - seg.FileSize
		switch {
		case seg.Flags&elf.PF_X != 0:
			s.Code += seg.FileSize
		case seg.Flags&elf.PF_W != 0:
			s.Data += seg.FileSize
		default:
			s.ROData += seg.FileSize
		}
	}
}

func (fw *Firmware) segments(f *firmware.File, memory []board.Region) {
	for _, s := range f.Segments {
		flags := []byte("---")
		for i, bit := range []elf.ProgFlag{elf.PF_R, elf.PF_W, elf.PF_X} {
			if s.Flags&bit != 0 {
				flags[i] = "rwx"[i]
			}
		}
		seg := Segment{Address: Address(s.Addr), FileSize: s.FileSize, MemorySize: s.MemSize, Flags: string(flags)}
		for _, r := range memory {
			if r.Contains(s.Addr, 1) {
				seg.Region = r.Name
			}
		}
		fw.Segments = append(fw.Segments, seg)
	}
}

func (fw *Firmware) table(t *firmware.ResourceTable) {
	if t == nil {
		return
	}
	fw.Table = &ResourceTable{Address: Address(t.Addr), Size: t.Len, Entries: []Resource{}}
	for _, e := range t.Entries {
		r := Resource{Type: e.Type.String(), Name: e.Name, Size: e.Len, Flags: e.Flags}
		addr, phys := Address(e.Addr), Address(e.Phys)
		switch e.Type {
		case firmware.Carveout, firmware.DevMem:
			r.Address, r.Physical = &addr, &phys
		case firmware.Trace:
			r.Address = &addr
		case firmware.VirtioDev:
			r.ID, r.Features = e.Vdev.ID, e.Vdev.Features
			for _, v := range e.Vdev.Vrings {
				r.Vrings = append(r.Vrings, Vring{Address(v.Addr), v.Num, v.Align, v.NotifyID})
			}
		}
		fw.Table.Entries = append(fw.Table.Entries, r)
	}
}
