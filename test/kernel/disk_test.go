//go:build kernel

package kernel

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// State, logs and dumps are their owner's alone, whatever the umask is.
func TestPrivate(t *testing.T) {
	d := newDesk(t)
	dumps := filepath.Join(t.TempDir(), "dumps")
	defer unix.Umask(unix.Umask(0))
	d.must("create", "--firmware", d.fw, "--coredump", dumps, "web")
	pid := d.state("web").PID
	d.must("start", "web")
	d.eventually("the greeting", func() bool { return strings.Contains(d.must("logs", "web"), greeting) })
	seen := 0
	look := func(dir string) {
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil || info.Mode()&fs.ModeSocket != 0 { // in a folder that nobody else enters
				return err
			}
			want := fs.FileMode(0o600)
			if e.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s is %v, want %v", name, info.Mode().Perm(), want)
			}
			seen++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	look(filepath.Join(d.w.dir, "run/hybrid"))
	d.cores[0].Crash(1)
	d.end(pid)
	look(filepath.Join(d.w.dir, "run/hybrid"))
	look(dumps)
	if seen < 15 {
		t.Errorf("only %d files and folders were looked at", seen)
	}
	d.must("delete", "web")
}

// What must survive the power is on the disk before it gets its name.
func TestSynced(t *testing.T) {
	d := newDesk(t)
	out, dumps := filepath.Join(t.TempDir(), "trace"), filepath.Join(t.TempDir(), "dumps")
	cmd := exec.Command("strace", "-f", "-y", "-qq", "-s", "4096", "-e", "trace=fsync,rename,renameat,renameat2", "-o", out,
		"../../bin/hybrid-runtime", "create", "--firmware", d.fw, "--coredump", dumps, "web")
	cmd.Env = d.w.env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.eventually("the container", func() bool { return strings.Contains(d.must("list", "-q"), "web") })
	pid := d.state("web").PID
	d.must("start", "web")
	d.cores[0].Crash(1)
	d.end(pid)
	d.must("delete", "web") // strace ends with the monitor
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	// calls of several threads are told in two lines: only how they begin is looked for
	for _, suffix := range []string{"/container.json.new", ".elf.new", ".core.new"} {
		synced, renamed := strings.Index(string(b), suffix+">"), strings.Index(string(b), suffix+`", `)
		if synced < 0 || renamed < synced {
			t.Errorf("%s is not synced before it is renamed:\n%s", suffix, b)
		}
	}
	if named, synced := strings.Index(string(b), ".core\""), strings.LastIndex(string(b), dumps+">"); named < 0 || synced < named {
		t.Errorf("the folder is not synced after a dump has its name:\n%s", b)
	}
}
