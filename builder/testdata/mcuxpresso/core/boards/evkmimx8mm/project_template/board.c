#include "board.h"

void BOARD_InitDebugConsole(void) {}
void BOARD_InitMemory(void) {}
void BOARD_RdcInit(void) {}
