/* board.h - what a board gives to the rest of the SDK; see boards/BOARD/board.c. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Prepares the board. The trace buffer works already, interrupts are off. */
void board_init(void);

/* The frequency of the core in Hz, at most 1.6 GHz (SysTick has 24 bits). */
uint32_t board_core_hz(void);

/* Sends c to the core's serial port, if it has one. Waits for a bounded time. */
void board_putc(char c);

/* Called once a tick in the SysTick handler. */
void board_tick(void);

/* Tells Linux, where the board can, that the core has crashed. */
void board_crashed(void);

#endif
