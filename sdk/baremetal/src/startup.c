/* startup.c - from reset to main. */
#include "board.h"
#include "clock.h"
#include "cortexm.h"
#include "fault.h"
#include "trace.h"

#include "memory.h"

/* Set by the board's link.ld. */
extern char __stack_top[];
extern char __data_load[], __data_start[], __data_end[];
extern char __bss_start[], __bss_end[];

int main(void);
void reset_handler(void) __attribute__((noreturn));

/*
 * The vector table: Armv7-M ARM, B1.5.2. It comes first in memory, for some cores
 * take stack pointer and reset address from there whatever the ELF entry says. An
 * interrupt handler of a peripheral needs a table of its own, and VTOR.
 */
__attribute__((section(".vectors"), used)) static const struct {
	void *stack;
	void (*handlers[15])(void);
} vectors = {
	__stack_top,
	{
		reset_handler,
		fault_handler_unexpected, /* NMI */
		fault_handler_hard,
		fault_handler_memory,
		fault_handler_bus,
		fault_handler_usage,
		0, 0, 0, 0,
		fault_handler_unexpected, /* SVC */
		fault_handler_unexpected, /* debug monitor */
		0,
		fault_handler_unexpected, /* PendSV */
		clock_handler,
	},
};

void reset_handler(void)
{
	__asm volatile("cpsid i" ::: "memory");
	SCB_VTOR = (uint32_t)&vectors;
	SCB_CPACR |= 0xFu << 20; /* the floating point unit, before the compiler uses its registers */
	SCB_SHCSR |= 7u << 16;   /* faults by their own names, not all as HardFault */
	barrier();

	memcpy(__data_start, __data_load, (size_t)(__data_end - __data_start));
	memset(__bss_start, 0, (size_t)(__bss_end - __bss_start)); /* the trace buffer is part of it */

	trace_init();
	board_init();
	clock_init();
	__asm volatile("cpsie i" ::: "memory");
	main();
	for (;;) /* not halted: interrupts go on */
		__asm volatile("wfi");
}
