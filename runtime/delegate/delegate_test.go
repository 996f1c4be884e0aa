package delegate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	put := func(name string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Setenv("PATH", dir)
	if _, err := Find(""); !errors.Is(err, ErrNone) {
		t.Errorf("nothing there: %v", err)
	}
	crun := put("crun")
	if got, err := Find(""); got != crun || err != nil {
		t.Errorf("%s, %v, want %s", got, err, crun)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, filepath.Join(dir, "runc")); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(""); got != crun || err != nil {
		t.Errorf("with ourselves as runc: %s, %v, want %s", got, err, crun)
	}
	if _, err := Find("runc"); err == nil || !strings.Contains(err.Error(), "it is this program itself") {
		t.Errorf("named ourselves: %v", err)
	}
	if _, err := Find(dir + "/none"); err == nil || err.Error() != "--runtime-delegate "+dir+"/none: no such file or directory" {
		t.Errorf("named one that is not there: %v", err)
	}
	other := put("other")
	if got, err := Find(other); got != other || err != nil {
		t.Errorf("%s, %v, want %s", got, err, other)
	}
}

func TestOwns(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"runc/state.json", "crun/status", "ours/container.json", "empty"} {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]bool{"runc": true, "crun": true, "ours": false, "empty": false, "none": false} {
		if got := Owns(root, id); got != want {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
}
