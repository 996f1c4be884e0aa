/* clock.c - time, by SysTick. */
#include "clock.h"

#include "board.h"
#include "cortexm.h"
#include "hybrid.h"

/*
 * A tick of 10 ms is a compromise: Linux sees text within 50 to 100 ms anyway, and
 * a core which wakes a hundred times a second costs next to nothing when simulated.
 */
static volatile uint32_t ticks;

void clock_init(void)
{
	SYST_RVR = board_core_hz() / (1000 / HYBRID_TICK_MS) - 1;
	SYST_CVR = 0;
	SYST_CSR = 7;
}

void clock_handler(void)
{
	ticks++;
	board_tick();
}

uint32_t hybrid_millis(void) { return ticks * HYBRID_TICK_MS; }

void hybrid_delay(uint32_t ms)
{
	uint32_t start = ticks;
	/* one tick more, for the present one is partly over */
	uint32_t wait = ms / HYBRID_TICK_MS + (ms % HYBRID_TICK_MS != 0) + 1;
	while (ticks - start < wait)
		__asm volatile("wfi");
}
