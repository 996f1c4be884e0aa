package firmware

import (
	"debug/elf"
	"io"
)

// Section is a section header. The kernel looks at one section alone, the resource
// table; the others are of interest to people.
type Section struct {
	Name   string
	Type   elf.SectionType
	Flags  elf.SectionFlag
	Addr   uint64 // where it is used, as the core sees it
	Offset uint64 // in the file
	Size   uint64
}

// Loaded reports whether the section is part of the running program.
func (s Section) Loaded() bool { return s.Flags&elf.SHF_ALLOC != 0 && s.Size > 0 }

// Sections lists the sections of a file that Parse accepts, without the empty first.
func Sections(r io.ReaderAt, size int64) ([]Section, error) {
	p := &parser{r: r, size: uint64(max(size, 0))}
	ident, err := p.read(0, elf.EI_NIDENT)
	if err != nil {
		return nil, err
	}
	p.is64 = elf.Class(ident[elf.EI_CLASS]) == elf.ELFCLASS64
	h, err := p.header()
	if err != nil {
		return nil, err
	}
	t, err := p.sections(h)
	if err != nil {
		return nil, err
	}
	var sections []Section
	for i := range t.len() {
		name, typ, flags, addr, off, size := t.header(i)
		if i == 0 && elf.SectionType(typ) == elf.SHT_NULL {
			continue
		}
		sections = append(sections, Section{
			cString(t.names, uint64(name)), elf.SectionType(typ), elf.SectionFlag(flags), addr, off, size,
		})
	}
	return sections, nil
}
