#include "clock_config.h"

void BOARD_BootClockRUN(void) {}
