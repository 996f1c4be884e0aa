#include "stm32mp1xx_hal.h"
#include "trace.h"

/* Linux has set up the clocks before it starts this core. */
int main(void)
{
	HAL_Init();
	trace_printf("Hello World from %s\n", BOARD);
	for (unsigned n = 1;; n++) {
		HAL_Delay(1000);
		trace_printf("tick %u\n", n);
	}
}

void SysTick_Handler(void)
{
	HAL_IncTick();
}
