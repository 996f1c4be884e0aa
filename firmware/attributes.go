package firmware

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
)

// Attributes are what a compiler says that code needs of an Arm core: the public
// attributes of a file (Addenda to, and Errata in, the ABI for the Arm Architecture,
// 3.3). A zero field says nothing.
type Attributes struct {
	CPU     string // Tag_CPU_name
	Arch    uint64 // Tag_CPU_arch
	Profile byte   // Tag_CPU_arch_profile: 'A', 'R', 'M', or 'S' for either of A and R
	FP      uint64 // Tag_FP_arch
	SIMD    uint64 // Tag_Advanced_SIMD_arch
	HardFP  uint64 // Tag_ABI_HardFP_use
	VFPArgs uint64 // Tag_ABI_VFP_args
}

// Values of Tag_CPU_arch that a check asks for.
const (
	ArchV6M     = 11
	ArchV7      = 10
	ArchV6SM    = 12
	ArchV7EM    = 13
	ArchV8A     = 14
	ArchV8R     = 15
	ArchV8MBase = 16
	ArchV8MMain = 17
)

// shtAttributes is SHT_ARM_ATTRIBUTES.
const shtAttributes elf.SectionType = 0x70000003

// maxAttributes is how large a section of attributes may be; real ones have 60 bytes.
const maxAttributes = 64 << 10

// ReadAttributes reads the attributes of f, which r holds; nil if it has none. A
// section that is not what the ABI says is a *FormatError.
func ReadAttributes(f *File, r io.ReaderAt, sections []Section) (*Attributes, error) {
	if f.Machine != elf.EM_ARM {
		return nil, nil
	}
	for _, s := range sections {
		if s.Type != shtAttributes || s.Size == 0 {
			continue
		}
		if s.Size > maxAttributes {
			return nil, formatErrorf("section %s is %d bytes, more than %d is not one of attributes", s.Name, s.Size, maxAttributes)
		}
		b := make([]byte, s.Size)
		if _, err := io.ReadFull(io.NewSectionReader(r, int64(s.Offset), int64(s.Size)), b); err != nil {
			return nil, formatErrorf("section %s is cut short", s.Name)
		}
		return parseAttributes(b)
	}
	return nil, nil
}

// attributeReader reads the little there is to the format; it fails by being short.
type attributeReader struct {
	b   []byte
	bad bool
}

func (r *attributeReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *attributeReader) uleb() uint64 {
	v, n := binary.Uvarint(r.b) // ULEB128 by another name
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *attributeReader) string() string {
	n := bytes.IndexByte(r.b, 0)
	if n < 0 {
		r.bad, r.b = true, nil
		return ""
	}
	return string(r.take(uint64(n) + 1)[:n])
}

// sized returns the rest of a part whose length, which counts the header of size
// done too, comes next.
func (r *attributeReader) sized(done uint64) *attributeReader {
	b := r.take(4)
	if b == nil {
		return &attributeReader{bad: true}
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if n < done+4 {
		r.bad, r.b = true, nil
		return &attributeReader{bad: true}
	}
	return &attributeReader{b: r.take(n - done - 4)}
}

func parseAttributes(b []byte) (*Attributes, error) {
	malformed := formatErrorf("malformed build attributes")
	if len(b) == 0 || b[0] != 'A' {
		return nil, malformed
	}
	var a *Attributes
	for r := (&attributeReader{b: b[1:]}); len(r.b) > 0; {
		vendor := r.sized(0)
		if name := vendor.string(); name == "aeabi" {
			for len(vendor.b) > 0 {
				tag := vendor.take(1)
				part := vendor.sized(1)
				if vendor.bad {
					return nil, malformed
				}
				if tag[0] != 1 { // a section's or a symbol's own
					continue
				}
				if a == nil {
					a = &Attributes{}
				}
				if !a.read(part) {
					return nil, malformed
				}
			}
		}
		if r.bad || vendor.bad {
			return nil, malformed
		}
	}
	return a, nil
}

// read takes the attributes of the whole file.
func (a *Attributes) read(r *attributeReader) bool {
	const cpuRawName, cpuName, compatibility, alsoCompatible, conformance = 4, 5, 32, 65, 67
	for len(r.b) > 0 {
		switch tag := r.uleb(); {
		case tag == cpuName:
			a.CPU = r.string()
		case tag == compatibility:
			r.uleb()
			_ = r.string()
		case tag == cpuRawName, tag == alsoCompatible, tag == conformance, tag > compatibility && tag%2 == 1:
			_ = r.string()
		default:
			a.set(tag, r.uleb())
		}
	}
	return !r.bad
}

func (a *Attributes) set(tag, value uint64) {
	switch tag {
	case 6:
		a.Arch = value
	case 7:
		a.Profile = byte(value)
	case 10:
		a.FP = value
	case 12:
		a.SIMD = value
	case 27:
		a.HardFP = value
	case 28:
		a.VFPArgs = value
	}
}

// ArchName is the architecture as Arm calls it: v7E-M. For 10, which A, R and M
// share, the profile is added.
func (a *Attributes) ArchName() string {
	names := []string{
		"pre-v4", "v4", "v4T", "v5T", "v5TE", "v5TEJ", "v6", "v6KZ", "v6T2", "v6K", "v7", "v6-M", "v6S-M", "v7E-M",
		"v8-A", "v8-R", "v8-M.baseline", "v8-M.mainline", "v8.1-A", "v8.2-A", "v8.3-A", "v8.1-M.mainline", "v9-A",
	}
	if a.Arch >= uint64(len(names)) {
		return fmt.Sprintf("architecture %d", a.Arch)
	}
	if name := names[a.Arch]; a.Arch != ArchV7 || a.Profile == 0 {
		return name
	}
	return "v7-" + string(rune(a.Profile))
}

// FPName is the floating-point hardware that the code may use; empty is none.
func (a *Attributes) FPName() string {
	names := []string{"", "VFPv1", "VFPv2", "VFPv3", "VFPv3-D16", "VFPv4", "VFPv4-D16", "FP for v8", "FPv5-D16"}
	if a.FP >= uint64(len(names)) {
		return fmt.Sprintf("floating point %d", a.FP)
	}
	return names[a.FP]
}

// FloatABI is how floating-point values are passed, as -mfloat-abi of GCC says it.
func (a *Attributes) FloatABI() string {
	switch {
	case a.VFPArgs == 1:
		return "hard"
	case a.VFPArgs != 0:
		return "other"
	case a.FP != 0:
		return "softfp"
	}
	return "soft"
}
