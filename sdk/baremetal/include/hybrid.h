/*
 * hybrid.h - what firmware built with the bare-metal SDK can use.
 *
 * Everything runs on one stack, in thread mode or in an interrupt handler; the
 * console may be used from both, also with interrupts off.
 */
#ifndef HYBRID_H
#define HYBRID_H

#include <stddef.h>
#include <stdint.h>

/* The names of the catalogue of boards, as given to make: BOARD=, MCU=. */
#define hybrid_board HYBRID_BOARD
#define hybrid_core HYBRID_MCU

/*
 * The console: text for people. It goes to the trace buffer (below), and on
 * boards which have one to the core's serial port. It never waits for a reader.
 */

/* Writes s. No newline is added. */
void hybrid_puts(const char *s);

/*
 * Writes formatted text: %d %u %x %c %s %p %%, with an optional width of at most
 * two digits, padded with spaces or, after a 0, with zeros. An l before d, u or x
 * changes nothing (int and long are both 32 bits; uint32_t is a long). There are no
 * long longs and no floating point.
 */
void hybrid_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Time, by SysTick. */

#define HYBRID_TICK_MS 10u /* the resolution of both */

/* Milliseconds since the core was started; wraps after 49 days. */
uint32_t hybrid_millis(void);

/* Sleeps for at least ms milliseconds. Not for use in interrupt handlers. */
void hybrid_delay(uint32_t ms);

/*
 * The trace buffer.
 *
 * Linux shows it as debugfs .../remoteproc/remoteprocN/trace0: the bytes up to
 * the first zero byte or to the end of the buffer. Nothing else crosses over, no
 * cursor and no length, so the position is in the text itself:
 *
 *   - The buffer is a ring of HYBRID_TRACE_SIZE bytes, all zero at start.
 *   - The byte ETX (0x03, "end of text") stands where the next character will
 *     go. It is there from before the first character on, and only there: ETX and
 *     zero bytes in the text itself are replaced by '?'.
 *   - In the first lap zero bytes follow ETX, and the text ends with it. From the
 *     second lap on no byte is zero; what follows ETX is the oldest text.
 *
 * A reader which takes a copy and knows where ETX stood in the one before has all
 * that is new: from there, round the end, to the ETX of this copy. Two copies with
 * ETX in the same place are either equal or a whole lap apart; if a byte changed
 * outside of the new text the reader was too slow, and text is lost. So nothing is
 * lost or repeated as long as less than HYBRID_TRACE_SIZE bytes are written
 * between two copies: 80 KB/s when copied every 100 ms.
 *
 * A copy is not taken at one instant. A character is replaced before ETX is put
 * behind it, so a copy of a running core may hold no ETX (the core turned the
 * corner meanwhile: copy again), or several in a row (the first one, as seen from
 * the last position, ends what is certain). A buffer which has become shorter than
 * the last copy, and so has zero bytes again, belongs to a core started anew.
 */
#define HYBRID_TRACE_SIZE 8192u
#define HYBRID_TRACE_END 0x03

#endif
