package monitor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
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
