/* fault.h - exceptions: those which end the firmware, and the one way to survive one. */
#ifndef FAULT_H
#define FAULT_H

#include <stdint.h>

/*
 * Whether the 32-bit register at address can be read at all. A peripheral which is
 * not there, or which belongs to somebody else, answers with a bus error: a fault,
 * unless it is asked for in this way. One without a clock does not answer at all,
 * and then this does not return.
 */
int fault_readable(uint32_t address);

void fault_handler_hard(void);
void fault_handler_memory(void);
void fault_handler_bus(void);
void fault_handler_usage(void);
void fault_handler_unexpected(void);

#endif
