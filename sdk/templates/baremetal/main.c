#include "hybrid.h"

int main(void)
{
	hybrid_printf("Hello World from %s (%s)\n", hybrid_board, hybrid_core);
	for (unsigned n = 1;; n++) {
		hybrid_delay(1000);
		hybrid_printf("tick %u\n", n);
	}
}
