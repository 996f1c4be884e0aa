/* clock.h - SysTick. */
#ifndef CLOCK_H
#define CLOCK_H

void clock_init(void);
void clock_handler(void); /* the SysTick exception */

#endif
