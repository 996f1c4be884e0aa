#include "stm32mp1xx_hal.h"

static volatile unsigned ticks;

void HAL_Init(void) {}
void HAL_IncTick(void) { ticks++; }

void HAL_Delay(unsigned milliseconds)
{
	for (unsigned start = ticks; ticks - start < milliseconds;)
		;
}
