/*
 * board.c - the virtual board: QEMU runs the core, and a bridge next to it plays the
 * few registers which core and Linux share (sim/vm/bridge has the whole map).
 */
#include "board.h"

#include "cortexm.h"

/* Any value but zero: the core has crashed. Linux gets its watchdog interrupt. */
#define CRASH_DOORBELL REG32(0x60F00200)

/*
 * The mailbox, as the STM32MP1's IPCC: channel 2 is Linux asking the core to shut
 * down. Clearing it is the answer, and the last the core does.
 */
#define IPCC_C2SCR REG32(0x60F01018)    /* 15:0 frees channels of Linux */
#define IPCC_C1TOC2SR REG32(0x60F0100C) /* channels occupied by Linux */
#define SHUTDOWN_CHANNEL (1u << 2)

void board_init(void) {}

uint32_t board_core_hz(void) { return 25000000; } /* QEMU's mps2-an500 */

void board_putc(char c) { (void)c; } /* no serial port */

void board_tick(void)
{
	if (IPCC_C1TOC2SR & SHUTDOWN_CHANNEL) {
		IPCC_C2SCR = SHUTDOWN_CHANNEL;
		halt();
	}
}

void board_crashed(void)
{
	CRASH_DOORBELL = 1;
	barrier();
}
