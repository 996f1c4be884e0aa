/* stubborn.c - does not hear when Linux asks it to shut down: interrupts are off. */
#include "hybrid.h"

int main(void)
{
	hybrid_puts("stubborn\n");
	__asm volatile("cpsid i");
	for (;;)
		;
}
