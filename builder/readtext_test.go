package builder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadText(t *testing.T) {
	if text, err := readText(strings.NewReader("FROM scratch")); err != nil || string(text) != "FROM scratch" {
		t.Errorf("%q, %v", text, err)
	}
	for name, in := range map[string]string{"binary": "\x7fELF\x00", "long": strings.Repeat("#", maxDockerfile+1)} {
		if _, err := readText(strings.NewReader(in)); !errors.Is(err, errNoText) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readDockerfile("/dev/zero"); !errors.Is(err, errNoText) { // it has an end, too
		t.Errorf("/dev/zero: %v", err)
	}
	if _, err := readDockerfile("/dev/null"); err == nil || err.Error() != "/dev/null: empty: want a Dockerfile" {
		t.Errorf("/dev/null: %v", err)
	}
}

func TestReadDockerfileFromPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(pipe, []byte("FROM scratch"), 0) }()
	d, err := readDockerfile(pipe)
	if err != nil || string(d.text) != "FROM scratch" || d.folder != "" {
		t.Errorf("%+v, %v", d, err)
	}
}
