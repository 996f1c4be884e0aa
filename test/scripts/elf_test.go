package scripts

import (
	"encoding/binary"
	"os"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

// writeELF is "elf FILE [FAULT…]": writes firmware for the Cortex-M4 of imx8m-mini that
// nothing can be said against but for these faults: no-table, no-thumb, cortex-m33, big
// (with more zeroed memory).
func writeELF(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: elf FILE [FAULT...]")
	}
	const tcml, tcmu = 0x1FFE0000, 0x20000000
	has := func(fault string) bool { return slices.Contains(args[1:], fault) }
	vectors := make([]byte, 256)
	binary.LittleEndian.PutUint32(vectors, tcmu+128<<10)
	reset := uint32(tcml + 0x41)
	if has("no-thumb") {
		reset--
	}
	binary.LittleEndian.PutUint32(vectors[4:], reset)
	table := elftest.Table(elftest.Trace(tcmu+0x100, 0x1000, "log"))
	attributes := elftest.Attributes("7E-M", 6, 13, 7, 'M', 10, 6, 27, 1, 28, 1)
	if has("cortex-m33") {
		attributes = elftest.Attributes("8-M.MAIN", 6, 17, 7, 'M')
	}
	f := elftest.File{
		Segments: []elftest.Segment{{Addr: tcml, Data: vectors}, {Addr: tcmu, Data: table}, {Addr: tcmu + 0x100, MemSize: 0x2000}},
		Entry:    tcml + 0x41, Table: table, TableAddr: tcmu,
		Sections: []elftest.Section{{Name: ".ARM.attributes", Type: 0x70000003, Data: attributes}},
	}
	if has("no-table") {
		f.Table = nil
	}
	if has("big") {
		f.Segments[2].MemSize = 0x10000
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), f.Bytes(), 0o644))
}
