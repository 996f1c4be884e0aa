#include <zephyr/kernel.h>

int main(void) { return printk("Hello World!"); }
