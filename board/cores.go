package board

import (
	"debug/elf"
	"slices"
	"strings"
)

// Core is one kind of remote processor.
type Core struct {
	// MCU is the name people write (mcu=NAME): the Arm core in lower case.
	MCU string
	// Compatible is the core's compatible string in the device tree.
	Compatible string
	// Machine is the e_machine its firmware must have. The kernel does not check
	// it: firmware for another architecture loads, and hangs.
	Machine elf.Machine
	// Memory is where segments may be loaded, as the core sees it; nil where it is
	// not known. The kernel maps the same ranges (the driver's address
	// translation table, or the node's memory-region).
	Memory []Region
}

// Region is a range of a core's memory.
type Region struct {
	Name  string
	Start uint64 // first address, as the core sees it
	Size  uint64 // bytes
}

// Contains reports whether the size bytes at addr lie inside the region.
func (r Region) Contains(addr, size uint64) bool {
	return addr >= r.Start && size <= r.Size && addr-r.Start <= r.Size-size
}

// SameMCU reports whether two names mean the same kind of core. The F that some
// vendors append to say that there is a floating point unit does not count:
// cortex-m4f is a cortex-m4.
func SameMCU(a, b string) bool { return baseMCU(a) == baseMCU(b) }

func baseMCU(s string) string { return strings.TrimSuffix(strings.ToLower(s), "f") }

// CoreOf returns the core that a remote processor with these compatible strings
// is, most specific first.
func CoreOf(compatible []string) (Core, bool) {
	for _, c := range compatible {
		if core, ok := cores[c]; ok {
			core.Compatible = c
			return core, true
		}
	}
	return Core{}, false
}

// KnownMCU reports whether any core of the catalogue has this name.
func KnownMCU(mcu string) bool {
	for _, c := range cores {
		if SameMCU(c.MCU, mcu) {
			return true
		}
	}
	return false
}

// MCUs are the names of all cores of the catalogue, sorted.
func MCUs() []string {
	var mcus []string
	for _, c := range cores {
		if !slices.Contains(mcus, c.MCU) {
			mcus = append(mcus, c.MCU)
		}
	}
	slices.Sort(mcus)
	return mcus
}

func arm(mcu string, memory ...Region) Core {
	return Core{MCU: mcu, Machine: elf.EM_ARM, Memory: memory}
}

// cores by compatible string. The strings are those of the drivers' match tables:
// imx_rproc.c, stm32_rproc.c, ti_k3_r5_remoteproc.c, ti_k3_m4_remoteproc.c,
// xlnx_r5_remoteproc.c, rcar_rproc.c.
var cores = map[string]Core{
	"fsl,imx6sx-cm4":      arm("cortex-m4"),
	"fsl,imx7d-cm4":       arm("cortex-m4"),
	"fsl,imx7ulp-cm4":     arm("cortex-m4"),
	"fsl,imx8mm-cm4":      arm("cortex-m4", imx8mMemory...),
	"fsl,imx8mn-cm7":      arm("cortex-m7"),
	"fsl,imx8mn-cm7-mmio": arm("cortex-m7"),
	"fsl,imx8mp-cm7":      arm("cortex-m7"),
	"fsl,imx8mp-cm7-mmio": arm("cortex-m7"),
	"fsl,imx8mq-cm4":      arm("cortex-m4"),
	"fsl,imx8qm-cm4":      arm("cortex-m4"),
	"fsl,imx8qxp-cm4":     arm("cortex-m4"),
	"fsl,imx8ulp-cm33":    arm("cortex-m33"),
	"fsl,imx93-cm33":      arm("cortex-m33"),
	"fsl,imx94-cm33s":     arm("cortex-m33"),
	"fsl,imx94-cm70":      arm("cortex-m7"),
	"fsl,imx94-cm71":      arm("cortex-m7"),
	"fsl,imx95-cm7":       arm("cortex-m7"),
	"renesas,rcar-cr7":    arm("cortex-r7"),
	"st,stm32mp1-m4":      arm("cortex-m4"),
	"st,stm32mp1-m4-tee":  arm("cortex-m4"),
	"st,stm32mp2-m33":     arm("cortex-m33"),
	"st,stm32mp2-m33-tee": arm("cortex-m33"),
	"ti,am62-r5f":         arm("cortex-r5f"),
	"ti,am64-m4fss":       arm("cortex-m4f"),
	"ti,am64-r5f":         arm("cortex-r5f"),
	"ti,am654-r5f":        arm("cortex-r5f"),
	"ti,j721e-r5f":        arm("cortex-r5f"),
	"xlnx,zynqmp-r5f":     arm("cortex-r5f"),
}

// imx8mMemory is the i.MX8M Mini's memory as its Cortex-M4 sees it: reference
// manual, "Cortex-M4 memory map", and imx_rproc_att_imx8mq of imx_rproc.c. DDR is
// reachable only where the processor's memory-region lists it, which the kernel
// checks at start.
var imx8mMemory = []Region{
	{"TCML (alias)", 0x00000000, 128 << 10},
	{"OCRAM_S (code)", 0x00180000, 32 << 10},
	{"OCRAM (code)", 0x00900000, 256 << 10},
	{"TCML", 0x1FFE0000, 128 << 10},
	{"TCMU", 0x20000000, 128 << 10},
	{"OCRAM_S", 0x20180000, 32 << 10},
	{"OCRAM", 0x20200000, 256 << 10},
	{"DDR", 0x40000000, 2 << 30},
}

// boardMemory is the memory of cores whose window is the board's choice, not the
// chip's.
var boardMemory = map[string][]Region{
	"qemu-virt": {{"RAM", 0x60000000, 1 << 20}},
}
