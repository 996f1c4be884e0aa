package firmware

import (
	"encoding/binary"
	"errors"
	"testing"
)

// attributes of the vendor and parts given.
func attributes(vendor string, parts ...[]byte) []byte {
	body := append([]byte(vendor), 0)
	for _, p := range parts {
		body = append(body, p...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte{'A'}, uint32(4+len(body))), body...)
}

// part is a sub-subsection with this tag.
func part(tag byte, content ...byte) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{tag}, uint32(5+len(content))), content...)
}

func TestParseAttributes(t *testing.T) {
	// what arm-none-eabi-gcc 12.2 writes for -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16
	gcc := attributes("aeabi", part(1, 0x05, '7', 'E', '-', 'M', 0, 0x06, 0x0d, 0x07, 'M', 0x09, 0x02, 0x0a, 0x06,
		0x12, 0x04, 0x14, 0x01, 0x15, 0x01, 0x17, 0x03, 0x18, 0x01, 0x19, 0x01, 0x1a, 0x01, 0x1b, 0x01, 0x1c, 0x01, 0x1e, 0x04, 0x22, 0x01))
	m4 := Attributes{CPU: "7E-M", Arch: ArchV7EM, Profile: 'M', FP: 6, HardFP: 1, VFPArgs: 1}
	for name, c := range map[string]struct {
		in   []byte
		want Attributes
	}{
		"gcc":                  {gcc, m4},
		"another vendor first": {append(attributes("gnu", part(1, 6, 1)), gcc[1:]...), m4},
		"a section's own":      {attributes("aeabi", part(2, 9, 0, 6, 1), part(1, 6, 10, 7, 'R')), Attributes{Arch: ArchV7, Profile: 'R'}},
		"strings between": {
			attributes("aeabi", part(1, 4, 'x', 0, 32, 1, 'g', 0, 65, 'y', 0, 67, '2', 0, 69, 0, 6, 17)),
			Attributes{Arch: ArchV8MMain},
		},
		"two bytes long": {attributes("aeabi", part(1, 0x80, 0x01, 5, 6, 16)), Attributes{Arch: ArchV8MBase}},
	} {
		got, err := parseAttributes(c.in)
		if err != nil || got == nil || *got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	for name, in := range map[string][]byte{
		"empty": nil, "version": {'B'}, "cut short": gcc[:20], "length of 0": append([]byte{'A'}, 0, 0, 0, 0),
		"part too long": attributes("aeabi", []byte{1, 0xff, 0, 0, 0}), "no vendor": attributes("")[:5],
		"string without end": attributes("aeabi", part(1, 5, 'x')), "number without end": attributes("aeabi", part(1, 6, 0x80)),
	} {
		var format *FormatError
		if got, err := parseAttributes(in); !errors.As(err, &format) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAttributeNames(t *testing.T) {
	for _, c := range []struct {
		a             Attributes
		arch, fp, abi string
	}{
		{Attributes{Arch: ArchV7EM, FP: 6, VFPArgs: 1}, "v7E-M", "VFPv4-D16", "hard"},
		{Attributes{Arch: ArchV7, Profile: 'R', FP: 4}, "v7-R", "VFPv3-D16", "softfp"},
		{Attributes{Arch: ArchV8MMain}, "v8-M.mainline", "", "soft"},
		{Attributes{Arch: 99, FP: 99, VFPArgs: 2}, "architecture 99", "floating point 99", "other"},
	} {
		if got := [3]string{c.a.ArchName(), c.a.FPName(), c.a.FloatABI()}; got != [3]string{c.arch, c.fp, c.abi} {
			t.Errorf("%+v is %q", c.a, got)
		}
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add(attributes("aeabi", part(1, 5, 'x', 0, 6, 13, 7, 'M')))
	f.Add(attributes("aeabi", part(2, 0), part(1, 32, 1, 0, 0x80, 1, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAttributes(b)
		if a == nil {
			return
		}
		if err != nil {
			t.Errorf("%+v with %v", a, err)
		}
		if len(a.CPU) > len(b) || a.ArchName() == "" || a.FloatABI() == "" {
			t.Errorf("%+v out of %d bytes", a, len(b))
		}
		a.FPName()
	})
}
