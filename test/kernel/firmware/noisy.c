/*
 * noisy.c - numbered lines, LINES in all, then "done". 31 bytes each, four every 10 ms:
 * 12 KB/s, many between two reads of a reader which comes every 100 ms, yet far from
 * filling the trace buffer in that time; and several laps of it in the end.
 */
#include "hybrid.h"

#define LINES 2000u

int main(void)
{
	unsigned n = 0;
	while (n < LINES) {
		for (int i = 0; i < 4; i++)
			hybrid_printf("line %06u abcdefghijklmnopqr\n", n++);
		hybrid_delay(0);
	}
	hybrid_puts("done\n");
	return 0;
}
