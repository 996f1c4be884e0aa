/* trace.h - the trace buffer; its format is in hybrid.h. */
#ifndef TRACE_H
#define TRACE_H

void trace_init(void);
void trace_putc(char c);

#endif
