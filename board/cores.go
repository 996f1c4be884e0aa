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
	// translation table, or the node's memory-region); see maps.go.
	Memory []Region
}

// SameMCU reports whether two names mean the same kind of core. The F that some
// vendors append to say that there is a floating point unit does not count:
// cortex-m4f is a cortex-m4.
func SameMCU(a, b string) bool { return KindOf(a) == KindOf(b) }

// KindOf is the one name of a kind of core: what is the same by SameMCU has it.
func KindOf(mcu string) string { return strings.TrimSuffix(strings.ToLower(mcu), "f") }

// CoreOf returns the core that a remote processor with these compatible strings
// is, most specific first.
func CoreOf(compatible []string) (Core, bool) {
	for _, c := range compatible {
		if core, ok := coreOf(c); ok {
			return core, true
		}
	}
	return Core{}, false
}

func coreOf(compatible string) (Core, bool) {
	for _, c := range cores {
		if c.compatible == compatible {
			return armCore(c.mcu, compatible, c.memory), true
		}
	}
	return Core{}, false
}

func armCore(mcu, compatible string, memory []Region) Core {
	return Core{MCU: mcu, Compatible: compatible, Machine: elf.EM_ARM, Memory: memory}
}

// KnownMCU reports whether any core of the catalogue has this name.
func KnownMCU(mcu string) bool {
	for _, c := range cores {
		if SameMCU(c.mcu, mcu) {
			return true
		}
	}
	return false
}

// MCUs are the names of all cores of the catalogue, sorted.
func MCUs() []string {
	var mcus []string
	for _, c := range cores {
		if !slices.Contains(mcus, c.mcu) {
			mcus = append(mcus, c.mcu)
		}
	}
	slices.Sort(mcus)
	return mcus
}

// cores by compatible string. The strings are those of the drivers' match tables:
// imx_rproc.c, stm32_rproc.c, ti_k3_r5_remoteproc.c, ti_k3_m4_remoteproc.c,
// xlnx_r5_remoteproc.c, rcar_rproc.c. All of them are Arm's; it is a table, not a map,
// because a map is made by code, which costs the runtime 5 KB.
var cores = []struct {
	compatible, mcu string
	memory          []Region // nil: not known
}{
	{"fsl,imx6sx-cm4", "cortex-m4", imx6sxMemory},
	{"fsl,imx7d-cm4", "cortex-m4", imx7dMemory},
	{"fsl,imx7ulp-cm4", "cortex-m4", imx7ulpMemory},
	{"fsl,imx8mm-cm4", "cortex-m4", imx8mMemory},
	{"fsl,imx8mn-cm7", "cortex-m7", imx8mnMemory},
	{"fsl,imx8mn-cm7-mmio", "cortex-m7", imx8mnMemory},
	{"fsl,imx8mp-cm7", "cortex-m7", imx8mnMemory},
	{"fsl,imx8mp-cm7-mmio", "cortex-m7", imx8mnMemory},
	{"fsl,imx8mq-cm4", "cortex-m4", imx8mMemory},
	{"fsl,imx8qm-cm4", "cortex-m4", imx8qmMemory},
	{"fsl,imx8qxp-cm4", "cortex-m4", imx8qxpMemory},
	{"fsl,imx8ulp-cm33", "cortex-m33", imx8ulpMemory},
	{"fsl,imx93-cm33", "cortex-m33", imx93Memory},
	{"fsl,imx94-cm33s", "cortex-m33", nil},
	{"fsl,imx94-cm70", "cortex-m7", nil},
	{"fsl,imx94-cm71", "cortex-m7", nil},
	{"fsl,imx95-cm7", "cortex-m7", imx95Memory},
	{"renesas,rcar-cr7", "cortex-r7", nil},
	{"st,stm32mp1-m4", "cortex-m4", stm32mp1Memory},
	{"st,stm32mp1-m4-tee", "cortex-m4", stm32mp1Memory},
	{"st,stm32mp2-m33", "cortex-m33", nil},
	{"st,stm32mp2-m33-tee", "cortex-m33", nil},
	{"ti,am62-r5f", "cortex-r5f", nil},
	{"ti,am64-m4fss", "cortex-m4f", am64M4Memory},
	{"ti,am64-r5f", "cortex-r5f", nil},
	{"ti,am654-r5f", "cortex-r5f", nil},
	{"ti,j721e-r5f", "cortex-r5f", nil},
	{"xlnx,zynqmp-r5f", "cortex-r5f", zynqmpMemory},
}

// boardMemory is the memory of cores whose window is the board's choice, not the
// chip's.
var boardMemory = map[string][]Region{
	"qemu-virt": {{Name: "RAM", Start: 0x60000000, Size: 1 << 20}},
}
