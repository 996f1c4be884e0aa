#ifndef TRACE_H
#define TRACE_H

/* Prints into the trace buffer, which Linux shows as /sys/kernel/debug/remoteproc/remoteproc0/trace0. */
void trace_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
