/*
 * board.c - the Cortex-M4 of NXP's i.MX8M Mini. Addresses and fields: i.MX 8M Mini
 * Applications Processor Reference Manual, chapters CCM, IOMUXC and UART.
 *
 * The console is UART4, 115200 8N1, on the EVK's second USB port. Linux may have
 * given UART4 to somebody else, or may stop its clock. Then output goes to the trace
 * buffer alone: a register which may not answer is probed first, and every wait ends.
 */
#include "board.h"

#include "cortexm.h"
#include "fault.h"

/* Clock roots (CCM_TARGET_ROOTn): 28 enable, 26:24 source, 18:16 and 5:0 dividers - 1. */
#define ROOT_M4 REG32(0x30388080)
#define ROOT_UART4 REG32(0x3038B080)
#define ROOT_ENABLE (1u << 28)

/* Clock gate (CCM_CCGR76): two bits per domain, 3 is always on. */
#define GATE_UART4 REG32(0x303844C0)
#define GATE_UART4_SET REG32(0x303844C4)
#define GATE_ALL_DOMAINS 0x3333u

#define MUX_UART4_RXD REG32(0x3033024C)
#define MUX_UART4_TXD REG32(0x30330250)
#define PAD_UART4_RXD REG32(0x303304B4)
#define PAD_UART4_TXD REG32(0x303304B8)
#define DAISY_UART4_RXD REG32(0x3033050C)
#define PAD_UART 0x140u /* as NXP's boards: pull up, drive strength x1 */

#define UART4 0x30A60000u
#define UTXD REG32(UART4 + 0x40)
#define UCR1 REG32(UART4 + 0x80)
#define UCR2 REG32(UART4 + 0x84)
#define UCR3 REG32(UART4 + 0x88)
#define UFCR REG32(UART4 + 0x90)
#define USR1 REG32(UART4 + 0x94)
#define UBIR REG32(UART4 + 0xA4)
#define UBMR REG32(UART4 + 0xA8)
#define UCR1_UARTEN (1u << 0)
#define UCR2_SRST (1u << 0) /* 0 starts a reset, reads 1 when it is over */
#define UCR2_RXEN (1u << 1)
#define UCR2_TXEN (1u << 2)
#define UCR2_WS (1u << 5)    /* 8 bits */
#define UCR2_IRTS (1u << 14) /* no RTS pin */
#define UCR3_RXDMUXSEL (1u << 2)
#define USR1_TRDY (1u << 13)
#define UBIR_115200 (96u - 1) /* 12 MHz * 96 / (16 * 625) = 115200 */
#define UBMR_115200 (625u - 1)

/*
 * At 115200 baud a character takes 87 us, and half of the 32-byte FIFO drains in
 * 1.4 ms. A poll is a bus access of about 50 ns at least, so this is more than 5 ms.
 */
#define POLLS 100000u

static int uart_works;

/* A UART without a clock does not answer, and the bus waits for ever: ask the CCM first. */
static int uart_clocked(void) { return (ROOT_UART4 & ROOT_ENABLE) && (GATE_UART4 & GATE_ALL_DOMAINS); }

/* Somebody else drives it, at other settings than ours: Linux, or what ran before. */
static int uart_taken(void)
{
	return uart_clocked() && fault_readable(UART4 + 0x80) && (UCR1 & UCR1_UARTEN) && (UBIR != UBIR_115200 || UBMR != UBMR_115200);
}

static int uart_init(void)
{
	if (!fault_readable((uint32_t)&ROOT_UART4) || !fault_readable((uint32_t)&GATE_UART4) || !fault_readable((uint32_t)&MUX_UART4_TXD))
		return 0;
	if (uart_taken())
		return 0;
	ROOT_UART4 = ROOT_ENABLE; /* the 24 MHz oscillator, divided by one */
	GATE_UART4_SET = GATE_ALL_DOMAINS;
	barrier();
	if (!uart_clocked() || !fault_readable(UART4 + 0x80))
		return 0;

	MUX_UART4_RXD = 0;
	MUX_UART4_TXD = 0;
	DAISY_UART4_RXD = 2;
	PAD_UART4_RXD = PAD_UART;
	PAD_UART4_TXD = PAD_UART;

	UCR1 = 0;
	UCR2 = 0;
	uint32_t polls = 0;
	while (!(UCR2 & UCR2_SRST))
		if (++polls == POLLS)
			return 0;
	UCR2 = UCR2_SRST | UCR2_RXEN | UCR2_TXEN | UCR2_WS | UCR2_IRTS;
	UCR3 = UCR3_RXDMUXSEL;
	UFCR = 4u << 7 | 16u << 10 | 1u; /* 12 MHz; TRDY at half a FIFO */
	UBIR = UBIR_115200;              /* first UBIR: the pair takes effect with UBMR */
	UBMR = UBMR_115200;
	UCR1 = UCR1_UARTEN;
	return 1;
}

void board_init(void)
{
	/*
	 * To an Armv7-M core 0x20000000 to 0x3FFFFFFF is memory; the peripherals in its
	 * upper half need the device attribute, or accesses are merged and reordered.
	 */
	MPU_RBAR = 0x30000000u | 1u << 4;                                   /* region 0 */
	MPU_RASR = 1u << 28 | 3u << 24 | 1u << 18 | 1u << 16 | 27u << 1 | 1u; /* XN, full access, shared device, 256 MiB */
	MPU_CTRL = 1u << 2 | 1u << 0;                                       /* the default map elsewhere */
	barrier();

	uart_works = uart_init();
}

uint32_t board_core_hz(void)
{
	/* as Linux or the boot loader has set it; sources 5 and 6 depend on their PLLs */
	static const uint32_t sources[8] = {24000000, 200000000, 250000000, 266666667, 800000000, 400000000, 400000000, 750000000};
	if (!fault_readable((uint32_t)&ROOT_M4))
		return 400000000;
	uint32_t root = ROOT_M4;
	return sources[root >> 24 & 7] / ((root >> 16 & 7) + 1) / ((root & 0x3F) + 1);
}

void board_putc(char c)
{
	if (!uart_works || !uart_clocked())
		return;
	for (uint32_t polls = 0; !(USR1 & USR1_TRDY); polls++)
		if (polls == POLLS) {
			uart_works = 0; /* nothing drains it: do not slow down the firmware any more */
			return;
		}
	UTXD = (uint32_t)(unsigned char)c;
}

void board_tick(void) {}

void board_crashed(void) {} /* Linux has no crash interrupt from this core */
