/* trace.c - the trace buffer, and the resource table which tells Linux where it is. */
#include "trace.h"

#include "hybrid.h"

#include <stdint.h>

/* In .bss: the kernel zeroes it when it loads the firmware, and startup.c again. */
static volatile char buffer[HYBRID_TRACE_SIZE] __attribute__((aligned(8)));
static uint32_t position; /* of ETX */

void trace_init(void)
{
	position = 0;
	buffer[0] = HYBRID_TRACE_END;
}

void trace_putc(char c)
{
	uint32_t next = (position + 1) % HYBRID_TRACE_SIZE;
	if (c == 0 || c == HYBRID_TRACE_END)
		c = '?';
	buffer[position] = c;
	__asm volatile("dmb" ::: "memory"); /* the order is part of the format */
	buffer[next] = HYBRID_TRACE_END;
	position = next;
}

/*
 * The resource table: Linux, include/linux/remoteproc.h. It must be there, and of
 * version 1, even for kernels that can do without.
 */
enum { RSC_TRACE = 2 };

struct trace_resource {
	uint32_t type;
	uint32_t address;
	uint32_t length;
	uint32_t reserved;
	char name[32];
};

__attribute__((section(".resource_table"), used)) static volatile struct {
	uint32_t version;
	uint32_t entries;
	uint32_t reserved[2];
	uint32_t offset[1];
	struct trace_resource trace;
} resource_table = {
	.version = 1,
	.entries = 1,
	.offset = {20},
	.trace = {
		.type = RSC_TRACE,
		.address = (uint32_t)buffer,
		.length = sizeof(buffer),
		.name = "console",
	},
};

_Static_assert(__builtin_offsetof(__typeof__(resource_table), trace) == 20, "offset of the trace entry");
_Static_assert(sizeof(struct trace_resource) == 48, "struct fw_rsc_trace with its type");
