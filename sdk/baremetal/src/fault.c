/* fault.c - says what went wrong, then stops the core for good. */
#include "fault.h"

#include "board.h"
#include "cortexm.h"
#include "hybrid.h"

/* What the core stacks on exception entry: Armv7-M ARM, B1.5.6. */
struct frame {
	uint32_t r0, r1, r2, r3, r12, lr, pc, xpsr;
};

static volatile enum { IDLE, PROBING, FAULTED } probe;

int fault_readable(uint32_t address)
{
	uint32_t value;
	probe = PROBING;
	/* .n: two bytes, which fault() skips. The fault of a load is precise. */
	__asm volatile("ldr.n %0, [%1]\n\tdsb" : "=l"(value) : "l"(address) : "memory");
	int readable = probe == PROBING;
	probe = IDLE;
	return readable;
}

static void __attribute__((used)) fault(struct frame *frame, const char *name)
{
	if (probe == PROBING) {
		probe = FAULTED;
		frame->pc += 2;
		SCB_CFSR = SCB_CFSR; /* writing ones clears */
		SCB_HFSR = SCB_HFSR;
		return;
	}
	hybrid_printf("\nfault: %s at pc %08lx, lr %08lx\n", name, frame->pc, frame->lr);
	hybrid_printf("fault: cfsr %08lx hfsr %08lx mmfar %08lx bfar %08lx\n", SCB_CFSR, SCB_HFSR, SCB_MMFAR, SCB_BFAR);
	board_crashed();
	halt();
}

/*
 * A handler hands on the frame, which lies on the stack the core used (there is one
 * stack, so sp), and the fault's name. Naked, for a prologue would move sp.
 */
#define FAULT_HANDLER(handler, name)                                          \
	void __attribute__((naked)) handler(void)                             \
	{                                                                     \
		__asm volatile("mov r0, sp\n\tldr r1, =1f\n\tb fault\n\t"     \
			       ".ltorg\n1:\t.asciz \"" name "\"\n\t.align 2"); \
	}

FAULT_HANDLER(fault_handler_hard, "hard fault")
FAULT_HANDLER(fault_handler_memory, "memory management fault")
FAULT_HANDLER(fault_handler_bus, "bus fault")
FAULT_HANDLER(fault_handler_usage, "usage fault")
FAULT_HANDLER(fault_handler_unexpected, "unexpected exception")
