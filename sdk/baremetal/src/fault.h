/* fault.h - exceptions which end the firmware. */
#ifndef FAULT_H
#define FAULT_H

void fault_handler_hard(void);
void fault_handler_memory(void);
void fault_handler_bus(void);
void fault_handler_usage(void);
void fault_handler_unexpected(void);

#endif
