package kmsg

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// step is a read at an offset, 4096 bytes if size is 0.
type step struct {
	offset int64
	size   int
	want   string
	err    error
	events uint32
}

func TestRing(t *testing.T) {
	r := ring{limit: 40} // four records of ten bytes
	early := r.open()
	if _, err := r.read(early, 0, 4096); !errors.Is(err, unix.EAGAIN) || r.events(early) != 0 {
		t.Errorf("an empty log: %v", err)
	}
	for i := range 6 {
		r.add(Info, 0, string(rune('a'+i)), "")
	}
	if r.end != 60 || r.oldest() != 20 || r.records[0].at != 20 {
		t.Fatalf("end %d, oldest %d", r.end, r.oldest())
	}
	const in, lost = unix.POLLIN | pollRdNorm, unix.POLLERR | unix.POLLPRI
	for name, c := range map[string]struct {
		reader *reader
		steps  []step
	}{
		"opened before": {early, []step{{0, 0, "", unix.EPIPE, in}, {0, 0, "c", nil, in}, {10, 0, "d", nil, in}, {20, 0, "e", nil, in}, {30, 0, "f", nil, 0}, {40, 0, "", unix.EAGAIN, 0}}},
		"opened after":  {r.open(), []step{{0, 5, "", unix.EINVAL, in}, {0, 10, "d", nil, in}, {10, 0, "e", nil, in}}},
		"from the end":  {r.open(), []step{{60, 0, "", unix.EAGAIN, 0}, {0, 0, "c", nil, in}}},
		"from what was": {r.open(), []step{{10, 0, "", unix.EPIPE, in}, {10, 0, "c", nil, in}}},
		"from between":  {r.open(), []step{{45, 0, "f", nil, 0}}},
	} {
		for i, s := range c.steps {
			if name == "opened before" && i == 0 {
				// the log wrapped between the opening and this read
				c.reader.position, c.reader.file = 0, 0
				if e := r.events(c.reader); e != in|lost {
					t.Errorf("%s: events %#x", name, e)
				}
			}
			size := s.size
			if size == 0 {
				size = 4096
			}
			b, err := r.read(c.reader, s.offset, size)
			if !errors.Is(err, s.err) || err == nil && !strings.HasSuffix(string(b), ";"+s.want+"\n") {
				t.Errorf("%s, read %d at %d: %q, %v", name, i, s.offset, b, err)
			}
			if e := r.events(c.reader); e != s.events {
				t.Errorf("%s, after read %d: events %#x, want %#x", name, i, e, s.events)
			}
		}
	}
}
