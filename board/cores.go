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
func SameMCU(a, b string) bool { return baseMCU(a) == baseMCU(b) }

func baseMCU(s string) string { return strings.TrimSuffix(strings.ToLower(s), "f") }

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
	core, ok := cores[compatible]
	core.Compatible, core.Memory = compatible, memoryOf(compatible)
	return core, ok
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

func arm(mcu string) Core { return Core{MCU: mcu, Machine: elf.EM_ARM} }

// cores by compatible string. The strings are those of the drivers' match tables:
// imx_rproc.c, stm32_rproc.c, ti_k3_r5_remoteproc.c, ti_k3_m4_remoteproc.c,
// xlnx_r5_remoteproc.c, rcar_rproc.c.
var cores = map[string]Core{
	"fsl,imx6sx-cm4":      arm("cortex-m4"),
	"fsl,imx7d-cm4":       arm("cortex-m4"),
	"fsl,imx7ulp-cm4":     arm("cortex-m4"),
	"fsl,imx8mm-cm4":      arm("cortex-m4"),
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

// boardMemory is the memory of cores whose window is the board's choice, not the
// chip's.
var boardMemory = map[string][]Region{
	"qemu-virt": {{Name: "RAM", Start: 0x60000000, Size: 1 << 20}},
}
