#include "stm32mp1xx_hal.h"
