#include "pin_mux.h"

void BOARD_InitBootPins(void) {}
