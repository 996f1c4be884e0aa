/*
 * count.c - counts how often it ran, in memory that nothing is loaded to, and crashes
 * when CRASH_AFTER_MS milliseconds are over.
 */
#include "hybrid.h"

#define MAGIC 0x68796200u

int main(void)
{
	volatile unsigned *count = (volatile unsigned *)0x60070000u;
	if ((*count & 0xffffff00u) != MAGIC)
		*count = MAGIC;
	++*count;
	hybrid_printf("run %u\n", *count & 0xffu);
	hybrid_delay(CRASH_AFTER_MS);
	__asm volatile("udf #0");
	return 0;
}
