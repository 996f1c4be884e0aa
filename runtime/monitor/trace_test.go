package monitor

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ring is the SDK's trace buffer, seen through the kernel: a C string.
type ring struct {
	buf []byte
	pos int
}

func newRing(size int) *ring {
	r := &ring{buf: make([]byte, size)}
	r.buf[0] = traceEnd
	return r
}

func (r *ring) write(s string) {
	for i := range len(s) {
		r.buf[r.pos] = s[i]
		r.pos = (r.pos + 1) % len(r.buf)
		r.buf[r.pos] = traceEnd
	}
}

func (r *ring) content() []byte {
	s, _, _ := strings.Cut(string(r.buf), "\x00")
	return []byte(s)
}

// look returns what a trace says when the file holds these contents in turn.
func look(t *testing.T, contents ...[]byte) []string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "trace0")
	var got []string
	tr := trace{}
	for _, c := range contents {
		if err := os.WriteFile(name, c, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		tr.file = f
		added, err := tr.next()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(added))
	}
	return got
}

// Whatever is written between two looks comes out once, in order, as long as it is
// less than the ring.
func TestMarkedTrace(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for size := 4; size < 200; size += 13 {
		r := newRing(size)
		var contents [][]byte
		var want []string
		for n := range 300 {
			text := fmt.Sprintf("line %d of many;", n)
			text = text[:random.IntN(min(len(text), size-1))]
			r.write(text)
			contents, want = append(contents, r.content()), append(want, text)
		}
		got := look(t, contents...)
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("ring of %d, look %d: got %q, want %q", size, i, got[i], want[i])
			}
		}
	}
}

func TestMarkedTraceSaysWhatItLost(t *testing.T) {
	r := newRing(32)
	r.write("start;")
	before := r.content()
	for n := range 10 {
		r.write(fmt.Sprintf("line %d;", n))
	}
	got := look(t, before, r.content())
	// a ring of 32 bytes holds 31 of text
	if want := string(lostMark) + "e 5;line 6;line 7;line 8;line 9;"[1:]; got[1] != want {
		t.Errorf("got %q, want %q", got[1], want)
	}
	if got := look(t, r.content()); !strings.HasPrefix(got[0], string(lostMark)) || !strings.HasSuffix(got[0], "line 9;") {
		t.Errorf("a first look at an old ring: %q", got[0])
	}
}

func TestMarkedTraceStartedAnew(t *testing.T) {
	a, b := newRing(64), newRing(64)
	a.write("a long text of the boot before")
	b.write("new boot")
	if got := look(t, a.content(), b.content()); got[1] != "new boot" {
		t.Errorf("got %q", got[1])
	}
}

func TestMarkedTraceCopiedWhileTurning(t *testing.T) {
	r := newRing(16)
	r.write("0123456789")
	first := r.content()
	torn := []byte("0123456789abcdef") // the last byte is written, the mark is on its way to the front
	r.write("abcdefgh")
	got := look(t, first, torn, r.content())
	if got[1] != "" || got[2] != "abcdefgh" {
		t.Errorf("got %q", got)
	}
}

func TestPlainTrace(t *testing.T) {
	for _, c := range []struct {
		name     string
		contents []string
		want     []string
	}{
		{"grows", []string{"", "a", "abc", "abc", "abcdef"}, []string{"", "a", "bc", "", "def"}},
		{"started anew", []string{"hello world", "hel"}, []string{"hello world", "hel"}},
		{"full, starts over", []string{"abcdefgh", "XYcdefgh", "XYZWefgh"}, []string{"abcdefgh", "XY", "ZW"}},
		{"turns the corner", []string{"abcdef", "XbcdefGH"}, []string{"abcdef", "GHX"}},
		{"goes on where it was", []string{"", "ab1\n", "ab1\nab2\n", "ab3\nab2\n", "ab3\nab4\n"}, []string{"", "ab1\n", "ab2\n", "ab3", "\nab4"}},
		{"around the end", []string{"abcdefgh", "XYcdefUV"}, []string{"abcdefgh", "UVXY"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var contents [][]byte
			for _, s := range c.contents {
				contents = append(contents, []byte(s))
			}
			got := look(t, contents...)
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("look %d: got %q, want %q", i, got[i], c.want[i])
				}
			}
		})
	}
}

// A plain ring, as Zephyr's RAM console is one, of lines that differ in a digit and, in
// rings of whole lines, are where those of the lap before were: nothing is left out, and
// nothing comes twice.
func TestPlainTraceOfLikeLines(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for size := 60; size < 81; size++ {
		buf, pos := make([]byte, size), 0
		contents := [][]byte{{}}
		var want strings.Builder
		looked := 0
		for n := range 200 {
			line := fmt.Sprintf("tick %04d\n", n)
			want.WriteString(line)
			for _, c := range []byte(line) {
				buf[pos] = c
				pos = (pos + 1) % size
			}
			if random.IntN(3) == 0 || n-looked == 4 { // not a lap between two looks
				looked = n
				s, _, _ := strings.Cut(string(buf), "\x00")
				contents = append(contents, []byte(s))
			}
		}
		// what is the same as before is told with the next that is not
		got := strings.Join(look(t, contents...), "")
		if !strings.HasPrefix(want.String(), got) || len(got) < want.Len()-size {
			t.Errorf("ring of %d: got %q", size, got)
		}
	}
}

// FuzzTrace looks for panics: the buffers are the firmware's.
func FuzzTrace(f *testing.F) {
	f.Add([]byte("abc\x03"), []byte("abcdef\x03"), 3)
	f.Add([]byte("abcd"), []byte("Xbcdefg"), 0)
	f.Fuzz(func(t *testing.T, last, now []byte, _ int) {
		tr := trace{}
		for _, c := range [][]byte{last, now, last, now} {
			if i := strings.IndexByte(string(c), traceEnd); i >= 0 {
				_, tr.end = markedSince(tr.last, c, tr.end)
			} else {
				_, tr.end = plainSince(tr.last, c, tr.end)
			}
			tr.last = append(tr.last[:0], c...)
		}
	})
}
