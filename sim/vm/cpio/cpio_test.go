package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// list reads an archive back: "name mode data" of each entry.
func list(t *testing.T, b []byte) []string {
	t.Helper()
	var got []string
	for off := 0; ; {
		field := func(i int) int {
			n, err := strconv.ParseUint(string(b[off+6+8*i:off+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
		if string(b[off:off+6]) != "070701" || off%4 != 0 {
			t.Fatalf("no header at %d", off)
		}
		mode, size, nameSize, device := field(1), field(6), field(11), fmt.Sprintf("%d:%d", field(9), field(10))
		name := string(b[off+110 : off+110+nameSize-1])
		data := (off + 110 + nameSize + 3) &^ 3
		if name == "TRAILER!!!" {
			if data != len(b) {
				t.Fatalf("%d bytes behind the trailer", len(b)-data)
			}
			return got
		}
		got = append(got, fmt.Sprintf("%s %o %s %s", name, mode, device, b[data:data+size]))
		off = (data + size + 3) &^ 3
	}
}

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, err := range []error{
		w.File("init", 0o755, []byte("x")),
		w.File("lib/modules/a.ko", 0o644, []byte("abcde")),
		w.File("lib/modules/b.ko", 0o644, nil),
		w.Symlink("bin/sh", "busybox"),
		w.Char("dev/console", 0o600, 5, 1),
		w.Folder("lib"),
		w.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"init 100755 0:0 x",
		"lib 40755 0:0 ",
		"lib/modules 40755 0:0 ",
		"lib/modules/a.ko 100644 0:0 abcde",
		"lib/modules/b.ko 100644 0:0 ",
		"bin 40755 0:0 ",
		"bin/sh 120777 0:0 busybox",
		"dev 40755 0:0 ",
		"dev/console 20600 5:1 ",
	}
	if got := list(t, b.Bytes()); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWriterRefuses(t *testing.T) {
	for _, name := range []string{"", ".", "/init", "../x", "a//b"} {
		if err := NewWriter(&bytes.Buffer{}).File(name, 0o644, nil); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
}

type full struct{ room int }

var errFull = errors.New("full")

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriterReportsErrors(t *testing.T) {
	w := NewWriter(&full{200})
	_ = w.File("init", 0o755, make([]byte, 300))
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("close after a failed write: %v", err)
	}
}
