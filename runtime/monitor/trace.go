package monitor

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// traceEnd stands in the bare-metal SDK's trace buffers where the next character
// will go: sdk/baremetal/include/hybrid.h describes the format.
const traceEnd = 0x03

// maxTrace bounds what is kept of one trace buffer, in bytes.
const maxTrace = 1 << 20

// lostMark stands in the output where the firmware was faster than the reader.
var lostMark = []byte("\n[... output lost ...]\n")

// trace follows one trace buffer of running firmware. The kernel shows the buffer
// as it is now, always from its beginning, with neither a cursor nor a length: what
// is new must be told from a comparison with the copy before.
type trace struct {
	file *os.File
	last []byte // the copy before; nil if there was none
	end  int    // where traceEnd stood in it; without one, where the next character goes, 0 if that is not known
	buf  []byte
}

// next returns what was written since the call before.
func (t *trace) next() ([]byte, error) {
	now, err := t.copy()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(now, traceEnd) < 0 && bytes.IndexByte(t.last, traceEnd) >= 0 {
		// the core moved the mark round the end while we copied: once more
		if now, err = t.copy(); err != nil {
			return nil, err
		}
		if bytes.IndexByte(now, traceEnd) < 0 {
			return nil, nil
		}
	}
	var added []byte
	if bytes.IndexByte(now, traceEnd) >= 0 {
		added, t.end = markedSince(t.last, now, t.end)
	} else {
		added, t.end = plainSince(t.last, now, t.end)
	}
	if t.last == nil {
		t.last = []byte{}
	}
	t.last = append(t.last[:0], now...)
	return added, nil
}

// copy reads the buffer with one read(2), which is as close to an instant as the
// kernel offers.
func (t *trace) copy() ([]byte, error) {
	if t.buf == nil {
		t.buf = make([]byte, 4096)
	}
	for {
		n, err := t.file.ReadAt(t.buf, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if n < len(t.buf) || len(t.buf) >= maxTrace {
			return t.buf[:n], nil
		}
		t.buf = make([]byte, 2*len(t.buf))
	}
}

// markedSince returns what is new in now, a ring that says with traceEnd where it
// ends, and where the mark stands. start is where it stood in last.
func markedSince(last, now []byte, start int) (added []byte, end int) {
	firstLap := now[len(now)-1] == traceEnd
	if len(now) < len(last) || start >= len(now) {
		start, last = 0, nil // a core that was started anew
	}
	end = bytes.IndexByte(now[start:], traceEnd)
	if end >= 0 {
		end += start
		added = append(added, now[start:end]...)
	} else {
		end = bytes.IndexByte(now, traceEnd)
		added = append(append(added, now[start:]...), now[:end]...)
	}
	switch {
	case last == nil && !firstLap:
		// first look, after the first lap: the oldest text follows the mark
		added = append(append([]byte(nil), now[end+1:]...), now[:end]...)
		added = append(append([]byte(nil), lostMark...), added...)
	case last != nil && overtaken(last, now, start, end):
		added = append(append(append([]byte(nil), lostMark...), now[end+1:]...), now[:end]...)
	}
	return added, end
}

// overtaken reports whether a byte changed that the new text, from start to end,
// does not explain: the writer went round more than once.
func overtaken(last, now []byte, start, end int) bool {
	if start > end {
		return !equalAfter(last, now, end+1, start)
	}
	if len(last) < len(now) && now[len(now)-1] != traceEnd {
		return true // the first lap ended between the copies, and the next one has come this far
	}
	return !equalAfter(last, now, 0, start) || (len(last) == len(now) && !equalAfter(last, now, end+1, len(now)))
}

func equalAfter(last, now []byte, from, to int) bool {
	return from >= to || bytes.Equal(last[from:to], now[from:to])
}

// plainSince returns what is new in now, a buffer without a mark: text that grows
// from the beginning, and in most vendors' consoles starts over at the beginning
// when the buffer is full. at is where the text went on after last, 0 if that is not
// known, and next where it does after now. What is new begins there, and ends with the
// last byte that differs: bytes after it that are what they were in the lap before
// come with the next that are not.
func plainSince(last, now []byte, at int) (added []byte, next int) {
	switch {
	case len(now) < len(last):
		return now, len(now) // a core that was started anew
	case len(now) == len(last) && bytes.Equal(now, last):
		return nil, at
	case bytes.HasPrefix(now, last):
		if last == nil { // the first look, which may be at any lap
			return now, 0
		}
		return now[len(last):], len(now)
	case at <= 0 || at > len(last):
		return differing(last, now)
	}
	start, first, length := at%len(now), -1, 0
	for i := range now {
		if at := (start + i) % len(now); at >= len(last) || last[at] != now[at] {
			if first < 0 {
				first = i
			}
			length = i + 1
		}
	}
	if first > len(now)/2 {
		return differing(last, now) // it has gone round, and is somewhere else
	}
	for i := range length {
		added = append(added, now[(start+i)%len(now)])
	}
	if length > len(now)-len(now)/8 {
		return added, 0 // it may have gone round
	}
	return added, (start+length-1)%len(now) + 1
}

// differing is plainSince where it is not known where the text went on: all that
// differs, from the first difference after the longest stretch without one. Text that
// repeats itself can be told no better.
func differing(last, now []byte) (added []byte, next int) {
	// the stretch, around the end of the ring, of bytes that are the same
	n := len(last)
	same := func(i int) bool { return last[i%n] == now[i%n] }
	longest, longestEnd, run := 0, 0, 0
	for i := range 2 * n {
		if !same(i) {
			run = 0
			continue
		}
		run++
		if run > longest && run <= n {
			longest, longestEnd = run, i+1
		}
	}
	grown := now[n:] // text between the old end and a corner that was turned
	from := longestEnd % n
	added = make([]byte, 0, n-longest+len(grown))
	for i := range n - longest {
		if at := (from + i) % n; at == 0 {
			added = append(append(added, grown...), now[0])
		} else {
			added = append(added, now[at])
		}
	}
	next = (from+n-longest-1)%n + 1
	if next == n {
		next = len(now)
	}
	return added, next
}
