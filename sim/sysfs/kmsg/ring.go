package kmsg

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// ring is the log's records. A record's position is the number of bytes that were
// logged before it, so that a file's position says which comes next: reading a record
// moves on by its length, and the file's size is the position of the next record.
type ring struct {
	limit   int // bytes that are kept
	records []record
	end     int64 // position of the next record
	next    uint64
}

type record struct {
	at   int64
	text []byte
}

// add logs a record. What is old goes, when there is no room.
func (r *ring) add(priority int, microseconds int64, text, properties string) {
	b := fmt.Appendf(nil, "%d,%d,%d,-;%s\n%s", priority, r.next, microseconds, escape(text), properties)
	r.records = append(r.records, record{r.end, b})
	r.next++
	r.end += int64(len(b))
	for r.end-r.records[0].at > int64(r.limit) && len(r.records) > 1 {
		r.records[0].text = nil
		r.records = r.records[1:]
	}
}

// escape is append_char_esc: a record's text is one line of ASCII.
func escape(text string) string {
	var s strings.Builder
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 127 || c == '\\' {
			fmt.Fprintf(&s, `\x%02x`, c)
		} else {
			s.WriteByte(c)
		}
	}
	return s.String()
}

// oldest is the position of the first record that is still there.
func (r *ring) oldest() int64 {
	if len(r.records) == 0 {
		return r.end
	}
	return r.records[0].at
}

// at is the first record at or after a position, nil if there is none yet.
func (r *ring) at(position int64) *record {
	for i := len(r.records); i > 0; i-- {
		if r.records[i-1].at < position {
			if i == len(r.records) {
				return nil
			}
			return &r.records[i]
		}
	}
	if len(r.records) == 0 {
		return nil
	}
	return &r.records[0]
}

// reader is one open file.
type reader struct {
	position int64 // in the log
	file     int64 // what the kernel believes the position to be
}

// open is a reader at the oldest record.
func (r *ring) open() *reader { return &reader{position: r.oldest()} }

// seekEnd moves a reader behind the last record.
func (r *ring) seekEnd(to *reader) { to.position, to.file = r.end, r.end }

// read is the next record for a read of size bytes at the offset of the file. What
// is overwritten is reported once.
func (r *ring) read(to *reader, offset int64, size int) ([]byte, error) {
	if offset != to.file { // a seek, of which nobody tells us
		to.position, to.file = offset, offset
		if offset == 0 {
			to.position = r.oldest()
		}
	}
	if to.position < r.oldest() {
		to.position = r.oldest()
		return nil, unix.EPIPE
	}
	next := r.at(to.position)
	if next == nil {
		return nil, unix.EAGAIN
	}
	to.position = next.at + int64(len(next.text))
	if len(next.text) > size {
		return nil, unix.EINVAL // and it is lost
	}
	to.file = offset + int64(len(next.text))
	return next.text, nil
}

// pollRdNorm is POLLRDNORM.
const pollRdNorm = 0x40

// events is devkmsg_poll.
func (r *ring) events(of *reader) uint32 {
	var e uint32
	if r.at(of.position) != nil {
		e = unix.POLLIN | pollRdNorm
	}
	if of.position < r.oldest() {
		e |= unix.POLLERR | unix.POLLPRI
	}
	return e
}
