package sysfs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSearch(t *testing.T) {
	root := t.TempDir()
	s := &search{root: root, release: "6.1.0"}
	file := func(name, content string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// from the last folder to the first, each hides those before
	for _, folder := range []string{"lib/firmware", "lib/firmware/6.1.0", "lib/firmware/updates", "lib/firmware/updates/6.1.0", "opt/fw"} {
		file(folder+"/sub/a.elf", folder)
		if folder == "opt/fw" {
			if err := s.parameterFile().store(t.Context(), "/opt/fw"); err != nil {
				t.Fatal(err)
			}
		}
		if b, err := s.open("sub/a.elf"); string(b) != folder || err != nil {
			t.Errorf("with %s: %q, %v", folder, b, err)
		}
	}
	file("opt/fw/empty", "")
	file("etc/secret", "inside of the root")
	for name, target := range map[string]string{"inside": "/etc/secret", "outside": "../../../../../../../../etc/hostname"} {
		if err := os.Symlink(target, filepath.Join(root, "lib/firmware", name)); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := s.open("inside"); string(b) != "inside of the root" {
		t.Errorf("an absolute link: %q, %v", b, err)
	}
	for name, want := range map[string]syscall.Errno{
		"missing":                  syscall.ENOENT,
		"outside":                  syscall.ENOENT, // of the root, where it is etc/hostname
		"..":                       syscall.EINVAL,
		"../a":                     syscall.EINVAL,
		"a/../b":                   syscall.EINVAL,
		"a/..":                     syscall.EINVAL,
		"a..b":                     syscall.ENOENT,
		"...":                      syscall.ENOENT,
		"sub":                      syscall.EINVAL,
		"empty":                    syscall.ENOENT, // the last folder's answer, where it is missing
		strings.Repeat("x/", 2048): syscall.ENAMETOOLONG,
	} {
		if b, err := s.open(name); err == nil || errnoOf(err) != want {
			t.Errorf("%.20q: %q, %v, want errno %d", name, b, err, want)
		}
	}
}
