/* All of the HAL, with ST's settings. For fewer, copy the file's text here. */
#include "stm32mp1xx_hal_conf_template.h"
