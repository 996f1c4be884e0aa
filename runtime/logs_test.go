package runtime

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/runtime/monitor"
)

const someLog = `2026-01-01T00:00:00Z stdout F one
2026-01-01T00:00:01Z stdout P tw
2026-01-01T00:00:02Z stderr F hybrid: a word
2026-01-01T00:00:03Z stdout F o
2026-01-01T00:00:04Z stdout F 
2026-01-01T00:00:05Z stdout P three
`

func TestLogs(t *testing.T) {
	r := withLog(t, someLog)
	for _, c := range []struct {
		o        LogOptions
		out, err string
	}{
		{LogOptions{Tail: -1}, "one\ntwo\n\nthree", "hybrid: a word\n"},
		{LogOptions{Tail: -1, Timestamps: true}, "2026-01-01T00:00:00Z one\n2026-01-01T00:00:01Z two\n2026-01-01T00:00:04Z \n2026-01-01T00:00:05Z three", "2026-01-01T00:00:02Z hybrid: a word\n"},
		{LogOptions{Tail: 0}, "", ""},
		{LogOptions{Tail: 1}, "three", ""},
		{LogOptions{Tail: 2}, "\nthree", ""},
		{LogOptions{Tail: 100}, "one\ntwo\n\nthree", "hybrid: a word\n"},
		{LogOptions{Tail: -1, Follow: true}, "one\ntwo\n\nthree", "hybrid: a word\n"}, // its monitor is gone
	} {
		var out, errOut bytes.Buffer
		if err := r.Logs(t.Context(), "web", c.o, &out, &errOut); err != nil || out.String() != c.out || errOut.String() != c.err {
			t.Errorf("%+v: %q and %q, %v", c.o, out.String(), errOut.String(), err)
		}
	}
	if err := os.Remove(filepath.Join(r.dir("web"), monitor.ConsoleLog)); err != nil {
		t.Fatal(err)
	}
	if err := r.Logs(t.Context(), "web", LogOptions{Tail: -1}, nil, nil); err != nil {
		t.Errorf("without output: %v", err)
	}
}

func withLog(t *testing.T, log string) *Runtime {
	t.Helper()
	r := newRuntime(t)
	put(t, r, "web", stopped(t, "web"))
	if err := os.WriteFile(filepath.Join(r.dir("web"), monitor.ConsoleLog), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// A log that is followed while it turns is printed once, and whole.
func TestFollow(t *testing.T) {
	r := newRuntime(t)
	put(t, r, "web", living(t, "web"))
	name := filepath.Join(r.dir("web"), monitor.ConsoleLog)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- r.Logs(ctx, "web", LogOptions{Tail: -1, Follow: true}, in, io.Discard)
		in.Close()
	}()
	for turn := range 3 {
		var b strings.Builder
		for n := range 50 {
			fmt.Fprintf(&b, "2026-01-01T00:00:00Z stdout F %d.%d\n", turn, n)
		}
		text := b.String()
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		line := 0
		for _, half := range []string{text[:len(text)/2], text[len(text)/2:]} { // in the middle of a line
			if _, err := f.WriteString(half); err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			for range strings.Count(half, "\n") {
				fmt.Fprintf(&want, "%d.%d\n", turn, line)
				line++
			}
			got := make([]byte, want.Len())
			if _, err := io.ReadFull(out, got); err != nil || string(got) != want.String() {
				t.Errorf("%v, got\n%s\nwant\n%s", err, got, want.String())
			}
		}
		f.Close()
		if err := os.Rename(name, filepath.Join(r.dir("web"), monitor.ConsoleOldLog)); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
