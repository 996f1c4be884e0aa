package monitor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

func TestExitRecord(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadExit(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no record: %v", err)
	}
	for code, reason := range []string{"first", "second"} {
		if err := WriteExit(dir, Exit{Code: code, Reason: reason}); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := ReadExit(dir); err != nil || e.Code != 0 || e.Reason != "first" {
		t.Errorf("%+v, %v", e, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
	if err := WriteExit(filepath.Join(dir, "gone"), Exit{}); err != nil {
		t.Errorf("a folder that is gone: %v", err)
	}
}

func TestCrashReason(t *testing.T) {
	for line, want := range map[string]string{
		"remoteproc remoteproc0: crash detected in m4: type watchdog": ": crash detected in m4: type watchdog",
		"remoteproc remoteproc0: handling crash #1 in m4":             "",
		"": "",
	} {
		if got := crashReason(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// Who does not read the output makes no firmware silent: while a write to it waits there
// is no silence, and it begins anew when the write is done.
func TestSilence(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()

	const silent = time.Hour
	c := newConsole(Config{Dir: t.TempDir()}, &remoteproc.Processor{})
	ago := func() {
		c.writes.Lock()
		defer c.writes.Unlock()
		c.last = time.Now().Add(-silent)
	}
	ago()
	if s := c.silence(); s < silent {
		t.Errorf("without output: %v", s)
	}
	done := make(chan struct{})
	go func() {
		c.emit(make([]byte, 1<<20)) // more than a pipe takes
		close(done)
	}()
	if _, err := r.Read(make([]byte, 1)); err != nil { // it writes
		t.Fatal(err)
	}
	ago()
	if s := c.silence(); s != 0 {
		t.Errorf("while nobody reads: %v", s)
	}
	reader := time.Now() // went away
	r.Close()
	<-done
	if s := c.silence(); s > time.Since(reader) {
		t.Errorf("after it: %v", s)
	}
	ago()
	if s := c.silence(); s < silent {
		t.Errorf("without output once more: %v", s)
	}
}
