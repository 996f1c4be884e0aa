package builder

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "id")
	if err := replace(full, []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a link to nothing, then to a file
		if err := replace(filepath.Join(dir, "link"), []byte("2")); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "elsewhere")); err != nil || string(text) != "2" {
		t.Errorf("the link's target holds %q, %v", text, err)
	}
	if got := names(t, dir); got != "elsewhere id link" {
		t.Errorf("there are %s", got)
	}
	if err := replace("/dev/full", []byte("x")); err == nil || err.Error() != "/dev/full: no space left on device" {
		t.Errorf("a full device: %v", err)
	}
}

// A descriptor's name in /proc is not the file's: a rename over /dev/stdout would take
// it from everybody.
func TestReplaceOpenFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "open")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		to, err := placeOf("", filepath.Join(dir, strconv.Itoa(int(f.Fd()))))
		if err != nil || to.temporary != "" {
			t.Errorf("%s: %+v, %v", dir, to, err)
		}
	}
}

func TestPlaceOf(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"":         "dest=DIR is a folder: name a file in it",
		"none/a":   "dest=DIR/none/a: no such file or directory",
		"file/a":   "dest=DIR/file/a: DIR/file is not a folder",
		"loop":     "dest=DIR/loop: too many levels of symbolic links",
		"new.file": "",
	} {
		_, err := placeOf("dest=", filepath.Join(dir, name))
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), dir, "DIR")
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
