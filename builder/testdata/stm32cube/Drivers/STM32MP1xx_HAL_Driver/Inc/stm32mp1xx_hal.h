#include "stm32mp1xx.h"
#include "stm32mp1xx_hal_conf.h"
#ifndef HAL_MODULE_ENABLED
#error the HAL has no configuration
#endif

void HAL_Init(void);
void HAL_IncTick(void);
void HAL_Delay(unsigned milliseconds);
