void SystemInit(void) {}
