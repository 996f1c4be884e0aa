package check

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

const (
	tcml, tcmu = 0x1FFE0000, 0x20000000
	stack      = 0x20020000
)

// code is the start of a program: a vector table, and room for what it leads to.
func code(sp, reset uint32) []byte {
	b := make([]byte, 64)
	binary.LittleEndian.PutUint32(b, sp)
	binary.LittleEndian.PutUint32(b[4:], reset)
	return b
}

// good is firmware for the i.MX8M Mini that nothing can be said against.
func good() elftest.File {
	table := elftest.Table(elftest.Trace(tcmu+0x100, 0x1000, "log"), elftest.Vdev(7, 2, 256))
	return elftest.File{
		Segments: []elftest.Segment{
			{Addr: tcml, Data: code(stack, tcml+0x21)},
			{Addr: tcmu, Data: table},
			{Addr: tcmu + 0x100, MemSize: 0x2000},
		},
		Entry: tcml + 0x21, Table: table, TableAddr: tcmu,
		Sections: []elftest.Section{attributes("7E-M", m4...)},
	}
}

// m4 are the attributes of -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16.
var m4 = []byte{6, 13, 7, 'M', 9, 2, 10, 6, 27, 1, 28, 1}

func attributes(cpu string, pairs ...byte) elftest.Section {
	return elftest.Section{Name: ".ARM.attributes", Type: 0x70000003, Data: elftest.Attributes(cpu, pairs...)}
}

func coreOf(t *testing.T, name, mcu string) board.Core {
	t.Helper()
	b, err := board.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	core, err := b.Core(mcu)
	if err != nil {
		t.Fatal(err)
	}
	return *core
}

// codesOf are the codes of the findings, E or W before each.
func codesOf(findings []firmware.Finding) string {
	var codes []string
	for _, f := range findings {
		severity := "W"
		if f.Fatal {
			severity = "E"
		}
		codes = append(codes, severity+string(f.Code[3:]))
	}
	return strings.Join(codes, " ")
}

func findingsOf(t *testing.T, file elftest.File, core board.Core) []firmware.Finding {
	t.Helper()
	b := file.Bytes()
	f, err := firmware.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	findings, err := Firmware(f, bytes.NewReader(b), int64(len(b)), core)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

// tableIs replaces the resource table, where it is loaded too.
func tableIs(f *elftest.File, entries ...[]byte) {
	f.Table = elftest.Table(entries...)
	f.Segments[1].Data = f.Table
}

func TestFirmware(t *testing.T) {
	log := elftest.Trace(tcmu+0x100, 0x1000, "log")
	vring := func(num, align uint32) []byte {
		b := elftest.Vdev(7, 2, num)
		binary.LittleEndian.PutUint32(b[28+4:], align)
		return b
	}
	reserved := func(b []byte, at int) []byte { b[at] = 1; return b }
	attr := func(cpu string, pairs ...byte) func(*elftest.File) {
		return func(f *elftest.File) { f.Sections[0] = attributes(cpu, pairs...) }
	}
	for _, c := range []struct {
		name  string
		spoil func(*elftest.File)
		codes string
		want  string // in the first message
	}{
		{"good", func(*elftest.File) {}, "", ""},
		{"loaded through the alias", func(f *elftest.File) { f.Segments[0].Addr = 0 }, "", ""},
		{"vectors through the alias, reset not", func(f *elftest.File) { f.Segments[0] = elftest.Segment{Addr: 0, Data: code(stack, tcml+0x21)} }, "", ""},
		{"machine", func(f *elftest.File) { f.Machine, f.Segments[0].Addr = elf.EM_386, 0x40 }, "E02", "wrong machine"},
		{"nothing to load", func(f *elftest.File) { f.Segments = f.Segments[:1]; f.Segments[0] = elftest.Segment{Type: elf.PT_NOTE} }, "E03 W17", "no loadable segment"},
		{"outside", func(f *elftest.File) { f.Segments[2].Addr = 0x2F000000 }, "E04", "segment at 0x2f000000 (8192 bytes) is outside"},
		{"across two regions", func(f *elftest.File) {
			f.Segments = []elftest.Segment{{Addr: tcml, Data: code(stack, tcml+0x21), MemSize: 0x20100}}
			f.TableAddr = tcmu
		}, "", ""},
		{"no table", func(f *elftest.File) { f.Table = nil }, "W05", "no resource table"},
		{"overlap", func(f *elftest.File) { f.Segments[2].Addr = tcmu + 8 }, "W06", "segments at 0x20000000 (140 bytes) and 0x20000008 (8192 bytes) overlap"},
		{"nothing at the start of TCML", func(f *elftest.File) { f.Segments[0].Addr += 0x40 }, "E07", "nothing is loaded at 0x1ffe0000, where cortex-m4 finds"},
		{"all of it in OCRAM", func(f *elftest.File) { f.Segments[0].Addr = 0x20200000 }, "E07", ""},
		{"code in DDR", func(f *elftest.File) { f.Segments[0].Addr = 0x80000000 }, "W15", "in DDR: it loads only where"},
		{"no Thumb bit", func(f *elftest.File) { f.Segments[0].Data = code(stack, tcml+0x20) }, "E08", "the reset vector at 0x1ffe0004 is 0x1ffe0020, which is not the address of a Thumb function"},
		{"code before the vectors", func(f *elftest.File) { f.Segments[0].Data = bytes.Repeat([]byte{0xbf, 0x00}, 32) }, "E09 W10", "leads to 0xbf00be, where nothing"},
		{"vectors that are not in the file", func(f *elftest.File) { f.Segments[0] = elftest.Segment{Addr: tcml, MemSize: 64} }, "E08 W10", "is 0x0"},
		{"reset leads elsewhere", func(f *elftest.File) { f.Segments[0].Data = code(stack, tcml+0x1001) }, "E09", "leads to 0x1ffe1000, where nothing is loaded"},
		{"reset leads to flash", func(f *elftest.File) { f.Segments[0].Data = code(stack, 0x08000101) }, "", ""},
		{"stack is 0", func(f *elftest.File) { f.Segments[0].Data = code(0, tcml+0x21) }, "W10", "the initial stack pointer at 0x1ffe0000 is 0x0"},
		{"stack in nowhere", func(f *elftest.File) { f.Segments[0].Data = code(0x2F000000, tcml+0x21) }, "W10", "which is not in RAM of cortex-m4"},
		{"stack in flash", func(f *elftest.File) { f.Segments[0].Data = code(0x08001000, tcml+0x21) }, "W10", ""},
		{"entry is not looked at", func(f *elftest.File) { f.Entry = 0x1000 }, "", ""},
		{"Cortex-M33", attr("8-M.MAIN", 6, 17, 7, 'M', 10, 8, 27, 1, 28, 1), "E12", "compiled for Armv8-M.mainline (8-M.MAIN), which cortex-m4 does not execute: compile with -mcpu=cortex-m4"},
		{"Cortex-A7", attr("7-A", 6, 10, 7, 'A', 10, 5, 12, 2, 28, 1), "E12", "compiled for Armv7-A"},
		{"Cortex-R5", attr("", 6, 10, 7, 'R'), "E12", "compiled for Armv7-R"},
		{"Cortex-M0", attr("6S-M", 6, 12, 7, 'M'), "", ""},
		{"Cortex-M3", attr("7-M", 6, 10, 7, 'M'), "", ""},
		{"soft", attr("7E-M", 6, 13, 7, 'M'), "", ""},
		{"FPv5", attr("7E-M", 6, 13, 7, 'M', 10, 8, 27, 1, 28, 1), "W14", "compiled for the floating-point unit FPv5-D16, cortex-m4 has VFPv4-D16"},
		{"double precision", attr("7E-M", 6, 13, 7, 'M', 10, 6, 28, 1), "W14", "compile with -mfpu=fpv4-sp-d16"},
		{"attributes that say nothing", attr(""), "", ""},
		{"attributes of rubbish", func(f *elftest.File) { f.Sections[0].Data = []byte("Axxxxxxxxx") }, "", ""},
		{"to the last byte", func(f *elftest.File) { f.Segments[2] = elftest.Segment{Addr: tcmu + 0x100, MemSize: 0x1ff00} }, "W16", "segment at 0x20000100 reaches the last byte of TCMU"},
		{"to the last byte of TCML", func(f *elftest.File) { f.Segments[0].MemSize = 0x20000 }, "", ""},
		{"table not loaded", func(f *elftest.File) { f.TableAddr = 0x20010000 }, "W17", "the resource table is at 0x20010000, outside"},
		{"table of traces not loaded", func(f *elftest.File) { tableIs(f, log); f.TableAddr = 0 }, "", ""},
		{"empty table", func(f *elftest.File) { tableIs(f) }, "W18", "the resource table is empty"},
		{"no trace", func(f *elftest.File) { tableIs(f, elftest.Vdev(7, 2, 16)) }, "W19", "no trace buffer"},
		{"trace outside", func(f *elftest.File) { tableIs(f, elftest.Trace(0x30000000, 16, "log")) }, "W20", `resource table entry 0 (trace "log") is 16 bytes at 0x30000000, which is not in the memory of cortex-m4`},
		{"trace of no length", func(f *elftest.File) { tableIs(f, elftest.Trace(tcmu, 0, "")) }, "W20", "entry 0 (trace) is 0 bytes"},
		{"carveout outside", func(f *elftest.File) { tableIs(f, log, elftest.Carveout(0x30000000, 16, "c")) }, "W20", `entry 1 (carveout "c")`},
		{"carveout anywhere", func(f *elftest.File) { tableIs(f, log, elftest.Carveout(0xffffffff, 16, "c")) }, "", ""},
		{"trace in two regions", func(f *elftest.File) { tableIs(f, elftest.Trace(tcmu-8, 16, "log")) }, "", ""},
		{"trace with reserved bytes", func(f *elftest.File) { tableIs(f, reserved(slices.Clone(log), 12)) }, "E21", "reserved bytes that are not zero"},
		{"vdev with reserved bytes", func(f *elftest.File) { tableIs(f, log, reserved(elftest.Vdev(7, 2, 16), 27)) }, "E21", "entry 1 (vdev) has reserved bytes"},
		{"vdev cut short", func(f *elftest.File) { tableIs(f, log, elftest.Vdev(7, 2, 16)[:40]) }, "E21", "past the end of the table"},
		{"vdev with three vrings", func(f *elftest.File) { tableIs(f, log, elftest.Vdev(7, 3, 16)) }, "E21", "has 3 vrings, the kernel takes 2"},
		{"vring without buffers", func(f *elftest.File) { tableIs(f, log, elftest.Vdev(7, 1, 0)) }, "E21", "vring 0 has 0 buffers"},
		{"vring not aligned", func(f *elftest.File) { tableIs(f, log, vring(16, 0)) }, "E21", "aligned to 0"},
		{"vring of 100", func(f *elftest.File) { tableIs(f, log, elftest.Vdev(7, 1, 100)) }, "W22", "vring 0 has 100 buffers, aligned to 16: both must be powers of two"},
		{"vring aligned to 100", func(f *elftest.File) { tableIs(f, log, vring(16, 100)) }, "W22", "aligned to 100"},
		{"debug information", func(f *elftest.File) {
			f.Sections = append(f.Sections, elftest.Section{Name: ".debug_info", Type: elf.SHT_PROGBITS, Data: make([]byte, 64<<10)})
		}, "W23", "65536 bytes of debug information for 204 that are loaded"},
		{"little debug information", func(f *elftest.File) {
			f.Sections = append(f.Sections, elftest.Section{Name: ".debug_info", Type: elf.SHT_PROGBITS, Data: make([]byte, 60<<10)})
		}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good()
			c.spoil(&f)
			findings := findingsOf(t, f, coreOf(t, "imx8m-mini", ""))
			if got := codesOf(findings); got != c.codes {
				t.Fatalf("found %q %v, want %q", got, findings, c.codes)
			}
			if c.want != "" && !strings.Contains(findings[0].Message, c.want) {
				t.Errorf("message %q, want %q", findings[0].Message, c.want)
			}
		})
	}
}

// TestOtherCores: what is right for one core is wrong for another, and of what is not
// known nothing is said.
func TestOtherCores(t *testing.T) {
	at := func(addr, sp uint64, section elftest.Section) elftest.File {
		table := elftest.Table(elftest.Trace(uint32(addr)+64, 64, "log"))
		return elftest.File{
			Segments: []elftest.Segment{{Addr: addr, Data: code(uint32(sp), uint32(addr)+9), MemSize: 256}},
			Table:    table, TableAddr: addr, Sections: []elftest.Section{section},
		}
	}
	r5 := attributes("cortex-r5", 6, 10, 7, 'R', 10, 4, 28, 1)
	for _, c := range []struct {
		board, mcu string
		file       elftest.File
		codes      string
	}{
		{"stm32mp157c-dk2", "", at(0, 0x10040000, attributes("7E-M", m4...)), ""},
		{"stm32mp157c-dk2", "", at(0x10000000, 0x10040000, attributes("7E-M", m4...)), "E07"},
		{"stm32mp157c-dk2", "", at(0xC0000000, 0x10040000, attributes("7E-M", m4...)), "E04 E07 W20"},
		{"beagleplay", "", at(0, 0x40000, attributes("7E-M", m4...)), ""},
		{"beagleplay", "", at(0x05000000, 0x40000, attributes("7E-M", m4...)), ""},
		{"imx8m-plus", "", at(0, 0x20020000, attributes("7E-M", 6, 13, 7, 'M', 10, 8, 28, 1)), ""},
		{"imx93-evk", "", at(0x1FFC0000, 0, attributes("8-M.MAIN", 6, 17, 7, 'M', 10, 8, 27, 1, 28, 1)), ""},
		{"imx93-evk", "", at(0x1FFC0000, 0, attributes("8-M.MAIN", 6, 17, 7, 'M', 10, 8, 28, 1)), "W14"},
		{"imx93-evk", "", at(0x1FFC0000, 0, attributes("8.1-M.MAIN", 6, 21, 7, 'M')), "E12"},
		{"qemu-virt", "", at(0x60000000, 0, attributes("7E-M", m4...)), ""},
		{"zcu102", "", at(0, 0, r5), ""},
		{"zcu102", "", at(0, 0, attributes("7E-M", m4...)), "E12"},
		{"am642-evm", "cortex-r5f", at(0x12345678, 0, r5), ""},
		{"r-car-gen3-salvator-xs", "", at(0x12345678, 0, attributes("7-A", 6, 10, 7, 'A')), ""},
	} {
		if got := codesOf(findingsOf(t, c.file, coreOf(t, c.board, c.mcu))); got != c.codes {
			t.Errorf("%s at %#x: found %q, want %q", c.board, c.file.Segments[0].Addr, got, c.codes)
		}
	}
	plain := board.Core{MCU: "cortex-m3", Machine: elf.EM_ARM}
	hard := at(0, 0, attributes("7-M", 6, 10, 7, 'M', 28, 1))
	if got := codesOf(findingsOf(t, hard, plain)); got != "E13" {
		t.Errorf("the hard-float ABI on a core without FPU: %q", got)
	}
	entry := at(0x1FFC0000, 0, attributes("8-M.MAIN", 6, 17, 7, 'M'))
	entry.Entry = 0x1000
	if got := codesOf(findingsOf(t, entry, coreOf(t, "imx93-evk", ""))); got != "W11" {
		t.Errorf("an entry point in nowhere: %q", got)
	}
}

func TestParse(t *testing.T) {
	text := strings.NewReader("#!/bin/sh\n")
	f, findings, err := Parse(text, text.Size())
	if f != nil || err != nil || len(findings) != 1 || findings[0].String() != "HB001: not an ELF file" || !findings[0].Fatal {
		t.Errorf("%v, %v, %v", f, findings, err)
	}
}

// TestDocumented holds that docs/checks.md and the sources know the same codes, and
// that each is given once.
func TestDocumented(t *testing.T) {
	code := regexp.MustCompile(`"(HB\d\d\d)"`)
	given := map[string]string{}
	for _, name := range []string{"../codes.go", "check.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(text), -1) {
			if given[m[1]] != "" {
				t.Errorf("%s is given in %s and in %s", m[1], given[m[1]], name)
			}
			given[m[1]] = name
		}
	}
	doc, err := os.ReadFile("../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\| (HB\d\d\d) \| (error|warning) \| \S`).FindAllStringSubmatch(string(doc), -1) {
		rows[m[1]]++
	}
	for c := range given {
		if rows[c] != 1 {
			t.Errorf("%s has %d rows in docs/checks.md, want 1", c, rows[c])
		}
	}
	for c := range rows {
		if given[c] == "" {
			t.Errorf("docs/checks.md has %s, which is no code", c)
		}
	}
	for _, c := range Codes() {
		if given[string(c)] == "" {
			t.Errorf("Codes has %s, which is no code", c)
		}
	}
	if len(Codes()) != len(given) || len(given) < 25 {
		t.Errorf("%d codes in Codes, %d in the sources", len(Codes()), len(given))
	}
}

// FuzzFirmware looks for panics in every rule; any bytes, on cores that have and have
// not a map of their memory.
func FuzzFirmware(f *testing.F) {
	f.Add(good().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		file, findings, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil || (file == nil) != (len(findings) == 1) {
			t.Fatalf("%v, %v", findings, err)
		}
		if file == nil {
			return
		}
		for _, name := range []string{"imx8m-mini", "zcu102", "imx94"} {
			core := board.Core{MCU: "cortex-m7", Machine: elf.EM_ARM}
			if bd, err := board.Lookup(name); err == nil {
				core = bd.Cores[0]
			}
			findings, err := Firmware(file, bytes.NewReader(b), int64(len(b)), core)
			if err != nil {
				t.Fatal(err)
			}
			if len(findings) > len(b) {
				t.Errorf("%d findings in %d bytes", len(findings), len(b))
			}
			for _, f := range findings {
				if f.Code == "" || f.Message == "" || strings.Contains(fmt.Sprint(f), "%!") {
					t.Errorf("finding %+v", f)
				}
			}
		}
	})
}
