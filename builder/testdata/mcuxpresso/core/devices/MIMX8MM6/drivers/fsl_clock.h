#define __WFI() __asm volatile("wfi")
