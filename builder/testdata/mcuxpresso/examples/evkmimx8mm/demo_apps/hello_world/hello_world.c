#include "fsl_debug_console.h"

int main(void)
{
	PRINTF("hello world.\r\n");
	for (;;)
		;
}
