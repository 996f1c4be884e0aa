package monitor

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Whatever is written, in pieces of any size, two files hold the latest of it.
func TestLogFile(t *testing.T) {
	for _, piece := range []int{1000, maxLog - 1, maxLog, maxLog + 1, 5*maxLog + 7} {
		dir := t.TempDir()
		l := &logFile{dir: dir}
		var all []byte
		for n := 0; len(all) < 6*maxLog; n++ {
			text := bytes.Repeat([]byte{'a' + byte(n%26)}, piece)
			all = append(all, text...)
			l.write(text)
		}
		l.file.Close()
		var kept []byte
		for _, name := range []string{ConsoleOldLog, ConsoleLog} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || len(b) > maxLog {
				t.Errorf("pieces of %d: %s has %d bytes, %v", piece, name, len(b), err)
			}
			kept = append(kept, b...)
		}
		if len(kept) < maxLog || !bytes.HasSuffix(all, kept) {
			t.Errorf("pieces of %d: %d bytes are kept, and they are not the latest", piece, len(kept))
		}
	}
	(&logFile{dir: filepath.Join(t.TempDir(), "gone")}).write([]byte("lost, and nothing else"))
}

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
