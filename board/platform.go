package board

import "slices"

// Platforms of the Linux beside the cores, as engines write them.
const (
	linuxARM64 = "linux/arm64"
	linuxARMv7 = "linux/arm/v7"
)

// armv7 are the chips of the catalogue whose application cores are Cortex-A7, -A8 or -A9,
// by the last of the board's compatible strings.
var armv7 = []string{
	"hybrid,qemu-virt", "fsl,imx6sx", "fsl,imx7d", "fsl,imx7ulp", "st,stm32mp153", "st,stm32mp157", "ti,am33xx",
}

// Platform is that of the board's Linux, by which its engines choose images:
// linux/arm64 or linux/arm/v7.
func (b *Board) Platform() string {
	if b.platform != "" {
		return b.platform
	}
	if slices.Contains(armv7, b.Compatible[len(b.Compatible)-1]) {
		return linuxARMv7
	}
	return linuxARM64
}

// Platforms are those of all boards.
func Platforms() []string { return []string{linuxARM64, linuxARMv7} }
