#include <zephyr/kernel.h>

int main(void);

int printk(const char *format, ...) { return *format; }
int k_msleep(int milliseconds) { return milliseconds; }
void reset(void) { for (;;) main(); }

void *const vectors[2] __attribute__((section(".vectors"), used)) = {(void *)0x20020000, (void *)reset};
