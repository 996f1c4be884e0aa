/* crash.c - runs for CRASH_AFTER_MS milliseconds, then executes an undefined instruction. */
#include "hybrid.h"

int main(void)
{
	hybrid_printf("crash from %s (%s)\n", hybrid_board, hybrid_core);
	hybrid_delay(CRASH_AFTER_MS);
	hybrid_puts("about to crash\n");
	__asm volatile("udf #0");
	return 0;
}
