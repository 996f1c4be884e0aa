/* console.c - text to the trace buffer and to the serial port. */
#include "board.h"
#include "cortexm.h"
#include "hybrid.h"
#include "trace.h"

#include <stdarg.h>

static void put(char c)
{
	/* an interrupt handler which prints must not get in between the two steps of trace_putc */
	uint32_t state = interrupts_off();
	trace_putc(c);
	interrupts_restore(state);
	if (c == '\n')
		board_putc('\r');
	board_putc(c);
}

void hybrid_puts(const char *s)
{
	while (*s)
		put(*s++);
}

static void put_padded(const char *s, uint32_t length, uint32_t width, char pad)
{
	for (; width > length; width--)
		put(pad);
	while (length--)
		put(*s++);
}

static void put_number(uint32_t value, uint32_t base, int negative, uint32_t width, char pad)
{
	char digits[10];
	uint32_t n = sizeof(digits);
	do {
		digits[--n] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative && pad == '0') { /* the sign stands before the zeros */
		put('-');
		width -= width > 0;
	} else if (negative) {
		for (; width > sizeof(digits) - n + 1; width--)
			put(' ');
		put('-');
		width = 0;
	}
	put_padded(digits + n, sizeof(digits) - n, width, pad);
}

void hybrid_printf(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	for (const char *f = format; *f; f++) {
		if (*f != '%') {
			put(*f);
			continue;
		}
		char pad = ' ';
		uint32_t width = 0;
		if (*++f == '0') {
			pad = '0';
			f++;
		}
		for (int i = 0; i < 2 && *f >= '0' && *f <= '9'; i++)
			width = width * 10 + (uint32_t)(*f++ - '0');
		if (*f == 'l')
			f++;
		switch (*f) {
		case 'd': {
			int32_t value = va_arg(args, int);
			put_number(value < 0 ? -(uint32_t)value : (uint32_t)value, 10, value < 0, width, pad);
			break;
		}
		case 'u':
			put_number(va_arg(args, unsigned), 10, 0, width, pad);
			break;
		case 'x':
			put_number(va_arg(args, unsigned), 16, 0, width, pad);
			break;
		case 'p':
			put_number((uint32_t)va_arg(args, void *), 16, 0, 8, '0');
			break;
		case 'c': {
			char c = (char)va_arg(args, int);
			put_padded(&c, 1, width, ' ');
			break;
		}
		case 's': {
			const char *s = va_arg(args, const char *);
			uint32_t length = 0;
			while (s[length])
				length++;
			put_padded(s, length, width, ' ');
			break;
		}
		case 0: /* a lone % at the end */
			f--;
			__attribute__((fallthrough));
		default:
			put(*f);
		}
	}
	va_end(args);
}
