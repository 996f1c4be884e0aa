#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "trace.h"

static char buffer[2048];
static unsigned used;

/* The resource table tells Linux where the trace buffer is (remoteproc.h of Linux). */
const struct {
	uint32_t version, entries, reserved[2], offset[1];
	uint32_t type;
	uint32_t address, length, zero;
	char name[32];
} resource_table __attribute__((section(".resource_table"), used)) = {
	.version = 1,
	.entries = 1,
	.offset = {20},
	.type = 2, /* RSC_TRACE */
	.address = (uint32_t)buffer,
	.length = sizeof buffer,
	.name = "trace0",
};

void trace_printf(const char *format, ...)
{
	char line[128];
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (length <= 0)
		return;
	if (length >= (int)sizeof line)
		length = sizeof line - 1;
	if (used + length >= sizeof buffer) { /* Linux reads up to the first zero: start again */
		memset(buffer, 0, sizeof buffer);
		used = 0;
	}
	memcpy(buffer + used, line, length);
	used += length;
}
