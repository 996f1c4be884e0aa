/* cortexm.h - the core's own registers: Armv7-M Architecture Reference Manual, B3. */
#ifndef CORTEXM_H
#define CORTEXM_H

#include <stdint.h>

#define REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define SYST_CSR REG32(0xE000E010) /* SysTick control: 0 enable, 1 interrupt, 2 core clock */
#define SYST_RVR REG32(0xE000E014) /* reload value, 24 bits */
#define SYST_CVR REG32(0xE000E018) /* current value */
#define SCB_VTOR REG32(0xE000ED08)
#define SCB_SHCSR REG32(0xE000ED24) /* 16 MemManage, 17 BusFault, 18 UsageFault enable */
#define SCB_CFSR REG32(0xE000ED28)
#define SCB_HFSR REG32(0xE000ED2C)
#define SCB_MMFAR REG32(0xE000ED34)
#define SCB_BFAR REG32(0xE000ED38)
#define SCB_CPACR REG32(0xE000ED88)
#define MPU_CTRL REG32(0xE000ED94)
#define MPU_RBAR REG32(0xE000ED9C)
#define MPU_RASR REG32(0xE000EDA0)

static inline void barrier(void) { __asm volatile("dsb\n\tisb" ::: "memory"); }

/* Switches interrupts off and returns the state for interrupts_restore. */
static inline uint32_t interrupts_off(void)
{
	uint32_t primask;
	__asm volatile("mrs %0, primask\n\tcpsid i" : "=r"(primask)::"memory");
	return primask;
}

static inline void interrupts_restore(uint32_t primask)
{
	__asm volatile("msr primask, %0" ::"r"(primask) : "memory");
}

/* Halts for good: interrupts off, the core asleep. */
static inline void __attribute__((noreturn)) halt(void)
{
	__asm volatile("cpsid i" ::: "memory");
	for (;;)
		__asm volatile("wfi");
}

#endif
