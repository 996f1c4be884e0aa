//go:build engine

package buildkit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func BenchmarkOpenClose(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		bk, err := Open(b.Context(), Options{Builder: UseEmbedded, StateDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if err := bk.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// What one BuildKit leaves in the process, the next one leaves again: so the second
// and third must leave as much as the first.
func TestOpenCloseLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	cycle := func() {
		bk, err := Open(t.Context(), Options{Builder: UseEmbedded, StateDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if bk.Kind != Embedded {
			t.Errorf("kind %s", bk.Kind)
		}
		if _, err := bk.ListWorkers(t.Context()); err != nil {
			t.Error(err)
		}
		if err := bk.Close(); err != nil {
			t.Error(err)
		}
	}
	cycle() // libraries start what they keep
	want := settle(t, leftovers{})
	for range 3 {
		cycle()
	}
	if got := settle(t, want); got.goroutines > want.goroutines || got.files > want.files {
		t.Errorf("%+v after one cycle, %+v after four\n%s", want, got, stacks())
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil {
		t.Fatal(err)
	} else if strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left:\n%s", mounts)
	}
}

// leftovers are what a closed BuildKit may leave in the process.
type leftovers struct{ goroutines, files int }

// settle counts what is left until it is no more than want, or does not fall.
func settle(t *testing.T, want leftovers) (got leftovers) {
	t.Helper()
	for range 30 {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		got = leftovers{goroutines: 0, files: len(fds)}
		for stack := range strings.SplitSeq(stacks(), "\n\n") {
			if !isTimer(stack) {
				got.goroutines++
			}
		}
		if got.goroutines <= want.goroutines && got.files <= want.files {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return got
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// isTimer reports whether a goroutine is one of the two that BuildKit's controller,
// made for a daemon, never ends: they sleep, and hold nothing.
func isTimer(stack string) bool {
	return strings.Contains(stack, "time.Sleep(") &&
		(strings.Contains(stack, "history.NewQueue.func2") || strings.Contains(stack, "control.NewController.After.throttle"))
}

func TestOpenWaits(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(t.Context(), Options{Builder: UseEmbedded, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan string, 2)
	o := Options{Builder: UseEmbedded, StateDir: dir, Waiting: func(dir string) { waiting <- dir }}

	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("no time")
	go func() { <-waiting; cancel(stopped) }()
	if _, err := Open(ctx, o); !errors.Is(err, stopped) {
		t.Errorf("error %v, want why the wait was cancelled", err)
	}

	opened := make(chan error, 1)
	go func() {
		second, err := Open(t.Context(), o)
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	if got := <-waiting; got != dir {
		t.Errorf("waits for %q", got)
	}
	select {
	case err := <-opened:
		t.Errorf("two at once: %v", err)
	case <-time.After(3 * lockPoll):
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if len(waiting) > 0 {
		t.Error("said more than once that it waits")
	}
}

func TestOpenFailsCleanly(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cache.db"), []byte("this is no database, and too short for one"), 0o600); err != nil {
		t.Fatal(err)
	}
	// a cache that cannot be read must not keep anybody from building, or say so
	bk, err := Open(t.Context(), Options{Builder: UseEmbedded, StateDir: dir})
	if err == nil {
		if err := bk.Close(); err != nil {
			t.Error(err)
		}
	} else if !strings.Contains(err.Error(), dir) {
		t.Errorf("error %q does not name the folder", err)
	}
	// whatever happened, the folder is free again
	if l, err := lockState(t.Context(), dir, func(string) { t.Error("the folder is still locked") }, nil); err != nil {
		t.Error(err)
	} else if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}
