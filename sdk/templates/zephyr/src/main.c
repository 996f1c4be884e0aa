#include <zephyr/kernel.h>

int main(void)
{
	printk("Hello World from %s\n", CONFIG_BOARD);
	for (unsigned int n = 1;; n++) {
		k_msleep(1000);
		printk("tick %u\n", n);
	}
	return 0;
}
