package board

// The memory maps, with where they come from: the kernel's driver decides what can be
// loaded. The last column is the address that Linux uses.
//
// Left out, because no table says it: the R5F of TI's chips (the size of its TCMs
// depends on the cluster's mode, and which of them is at 0 on a property of the
// node), renesas,rcar-cr7, st,stm32mp2-m33 and fsl,imx94-*.

// imx8mMemory: i.MX8M Mini and Quad: imx_rproc_att_imx8mq of
// drivers/remoteproc/imx_rproc.c, as all of NXP's; sizes of OCRAM and OCRAM_S of the
// Mini: i.MX 8M Mini reference manual, Cortex-M4 memory map. The core takes SP and
// PC from 0, which is TCML.
var imx8mMemory = []Region{
	{"TCML", 0x1FFE0000, 128 << 10, Boot, 0x007E0000},
	{"TCMU", 0x20000000, 128 << 10, Data, 0x00800000},
	{"TCML (alias)", 0x00000000, 128 << 10, Code, 0x007E0000},
	{"OCRAM_S", 0x20180000, 32 << 10, Data, 0x00180000},
	{"OCRAM_S (code)", 0x00180000, 32 << 10, Code, 0x00180000},
	{"OCRAM", 0x20200000, 256 << 10, Data, 0x00900000},
	{"OCRAM (code)", 0x00900000, 256 << 10, Code, 0x00900000},
	{"QSPI", 0x08000000, 128 << 20, Flash, 0x08000000},
	{"DDR", 0x40000000, 2 << 30, DDR, 0x40000000},
	{"DDR (code)", 0x10000000, 262016 << 10, DDR, 0x40000000},
}

// imx8mnMemory: i.MX8M Nano and Plus: imx_rproc_att_imx8mn. The core boots from 0,
// which is ITCM.
var imx8mnMemory = []Region{
	{"ITCM", 0x00000000, 128 << 10, Boot, 0x007E0000},
	{"DTCM", 0x20000000, 128 << 10, Data, 0x00800000},
	{"OCRAM_S", 0x20180000, 32 << 10, Data, 0x00180000},
	{"OCRAM_S (code)", 0x00180000, 36 << 10, Code, 0x00180000},
	{"OCRAM", 0x20200000, 512 << 10, Data, 0x00900000},
	{"OCRAM (code)", 0x00900000, 576 << 10, Code, 0x00900000},
	{"QSPI", 0x08000000, 128 << 20, Flash, 0x08000000},
	{"DDR", 0x40000000, 2 << 30, DDR, 0x40000000},
	{"DDR (code)", 0x10000000, 262016 << 10, DDR, 0x40000000},
}

// imx93Memory: i.MX93: imx_rproc_att_imx93. Each memory has a secure and a second,
// non-secure address. The DDR at A0000000 is not in that table: the kernel maps what
// memory-region lists beside it, as imx93-11x11-evk.dts does at A4000000.
var imx93Memory = []Region{
	{"TCM code", 0x1FFC0000, 256 << 10, Code, 0x201C0000},
	{"TCM code (non-secure)", 0x0FFC0000, 256 << 10, Code, 0x201C0000},
	{"TCM system", 0x20000000, 256 << 10, Data, 0x20200000},
	{"TCM system (secure)", 0x30000000, 256 << 10, Data, 0x20200000},
	{"DDR", 0x80000000, 256 << 20, DDR, 0x80000000},
	{"DDR (alias)", 0x90000000, 256 << 20, DDR, 0x80000000},
	{"DDR (memory-region)", 0xA0000000, 512 << 20, DDR, 0xA0000000},
	{"DDR 2", 0xC0000000, 256 << 20, DDR, 0xC0000000},
	{"DDR 2 (alias)", 0xD0000000, 256 << 20, DDR, 0xC0000000},
}

// imx95Memory: i.MX95: imx_rproc_att_imx95_m7.
var imx95Memory = []Region{
	{"ITCM", 0x00000000, 256 << 10, Code, 0x203C0000},
	{"DTCM", 0x20000000, 256 << 10, Data, 0x20400000},
	{"DDR", 0x80000000, 1280 << 20, DDR, 0x80000000},
}

// imx8qmMemory: i.MX8QuadMax: imx_rproc_att_imx8qm; Linux sees the TCMs of the
// second core at 38FE0000 and 39000000.
var imx8qmMemory = []Region{
	{"TCML", 0x1FFE0000, 128 << 10, Code, 0x34FE0000},
	{"TCMU", 0x20000000, 128 << 10, Data, 0x35000000},
	{"FlexSPI", 0x08000000, 256 << 20, Flash, 0x08000000},
	{"DDR", 0x80000000, 1536 << 20, DDR, 0x80000000},
}

// imx8qxpMemory: i.MX8QuadXPlus and 8DXL: imx_rproc_att_imx8qxp.
var imx8qxpMemory = []Region{
	{"TCML", 0x1FFE0000, 128 << 10, Code, 0x34FE0000},
	{"TCMU", 0x20000000, 128 << 10, Data, 0x35000000},
	{"OCRAM (low)", 0x21000000, 96 << 10, Data, 0x00100000},
	{"OCRAM", 0x21100000, 256 << 10, Data, 0x00100000},
	{"FlexSPI", 0x08000000, 256 << 20, Flash, 0x08000000},
	{"DDR", 0x80000000, 1536 << 20, DDR, 0x80000000},
}

// imx8ulpMemory: i.MX8ULP: imx_rproc_att_imx8ulp.
var imx8ulpMemory = []Region{
	{"SSRAM", 0x1FFC0000, 768 << 10, Code, 0x1FFC0000},
	{"SSRAM 2", 0x21000000, 64 << 10, Data, 0x21000000},
	{"DDR", 0x80000000, 1536 << 20, DDR, 0x80000000},
}

// imx7ulpMemory: i.MX7ULP: imx_rproc_att_imx7ulp.
var imx7ulpMemory = []Region{
	{"TCML", 0x1FFD0000, 192 << 10, Code, 0x1FFD0000},
	{"TCMU", 0x20000000, 64 << 10, Data, 0x20000000},
	{"OCRAM", 0x2F000000, 128 << 10, Data, 0x2F000000},
	{"OCRAM 2", 0x2F020000, 128 << 10, Data, 0x2F020000},
	{"DDR", 0x60000000, 1 << 30, DDR, 0x60000000},
}

// imx7dMemory: i.MX7Dual: imx_rproc_att_imx7d. The core boots from 0, which is
// OCRAM_S.
var imx7dMemory = []Region{
	{"OCRAM_S", 0x00180000, 32 << 10, Boot, 0x00180000},
	{"OCRAM_S (alias)", 0x00000000, 32 << 10, Code, 0x00180000},
	{"TCML", 0x1FFF8000, 32 << 10, Code, 0x007F8000},
	{"TCMU", 0x20000000, 32 << 10, Data, 0x00800000},
	{"OCRAM", 0x20200000, 128 << 10, Data, 0x00900000},
	{"OCRAM (code)", 0x00900000, 128 << 10, Code, 0x00900000},
	{"OCRAM_EPDC", 0x20220000, 128 << 10, Data, 0x00920000},
	{"OCRAM_EPDC (code)", 0x00920000, 128 << 10, Code, 0x00920000},
	{"OCRAM_PXP", 0x20240000, 32 << 10, Data, 0x00940000},
	{"OCRAM_PXP (code)", 0x00940000, 32 << 10, Code, 0x00940000},
	{"DDR", 0x80000000, 1536 << 20, DDR, 0x80000000},
	{"DDR (code)", 0x10000000, 262080 << 10, DDR, 0x80000000},
}

// imx6sxMemory: i.MX6SoloX: imx_rproc_att_imx6sx. The core boots from 0, which is
// TCML.
var imx6sxMemory = []Region{
	{"TCML", 0x1FFF8000, 32 << 10, Boot, 0x007F8000},
	{"TCML (alias)", 0x00000000, 32 << 10, Code, 0x007F8000},
	{"TCMU", 0x20000000, 32 << 10, Data, 0x00800000},
	{"OCRAM_S", 0x208F8000, 16 << 10, Data, 0x008F8000},
	{"OCRAM_S (code)", 0x00180000, 16 << 10, Code, 0x008F8000},
	{"DDR", 0x80000000, 1536 << 20, DDR, 0x80000000},
	{"DDR (code)", 0x10000000, 262112 << 10, DDR, 0x80000000},
}

// stm32mp1Memory: STM32MP15: m4@10000000 and the dma-ranges of its bus in
// arch/arm/boot/dts/st/stm32mp151.dtsi; the driver refuses a memory-region outside
// of them. The core boots from 0, which is RETRAM.
var stm32mp1Memory = []Region{
	{"RETRAM", 0x00000000, 64 << 10, Boot, 0x38000000},
	{"MCUSRAM", 0x10000000, 384 << 10, Data, 0x10000000},
	{"MCUSRAM (alias)", 0x30000000, 384 << 10, Data, 0x10000000},
}

// am64M4Memory: AM62 and AM64: am64_m4_mems of
// drivers/remoteproc/ti_k3_m4_remoteproc.c, m4fss@5000000 of k3-am64-mcu.dtsi and
// k3-am62-mcu.dtsi. The driver takes either address of a memory. The core boots from
// 0, which is IRAM.
var am64M4Memory = []Region{
	{"IRAM", 0x00000000, 192 << 10, Boot, 0x05000000},
	{"DRAM", 0x00030000, 64 << 10, Data, 0x05040000},
	{"IRAM (bus)", 0x05000000, 192 << 10, Code, 0x05000000},
	{"DRAM (bus)", 0x05040000, 64 << 10, Data, 0x05040000},
	{"DDR", 0x80000000, 2 << 30, DDR, 0x80000000},
}

// zynqmpMemory: Zynq UltraScale+: zynqmp_tcm_banks_split and _lockstep of
// drivers/remoteproc/xlnx_r5_remoteproc.c, with the addresses of the first core; OCM
// and DDR: UG1085, RPU memory map, where the node's memory-region lists them.
var zynqmpMemory = []Region{
	{"ATCM", 0x00000000, 64 << 10, Code, 0xFFE00000},
	{"ATCM (lockstep)", 0x00010000, 64 << 10, Code, 0xFFE10000},
	{"BTCM", 0x00020000, 64 << 10, Data, 0xFFE20000},
	{"BTCM (lockstep)", 0x00030000, 64 << 10, Data, 0xFFE30000},
	{"OCM", 0xFFFC0000, 256 << 10, DDR, 0xFFFC0000},
	{"DDR", 0x00100000, 2047 << 20, DDR, 0x00100000},
}
