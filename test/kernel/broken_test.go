//go:build kernel

package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// mount mounts something on a folder of the board until the test ends, or until the
// function that it returns is called.
func (d *desk) mount(source, folder, fstype string, flags uintptr, data string) (unmount func()) {
	d.Helper()
	at := filepath.Join(d.w.dir, folder)
	if err := os.MkdirAll(at, 0o755); err != nil {
		d.Fatal(err)
	}
	if err := unix.Mount(source, at, fstype, flags, data); err != nil {
		d.Fatalf("mount %s: %v", at, err)
	}
	done := false
	unmount = func() {
		if !done {
			done = true
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				d.Errorf("unmount %s: %v", at, err)
			}
		}
	}
	d.Cleanup(unmount)
	return unmount
}

// readOnly makes a folder of the board read-only.
func (d *desk) readOnly(folder string) (undo func()) {
	d.Helper()
	at := filepath.Join(d.w.dir, folder)
	undo = d.mount(at, folder, "", unix.MS_BIND, "")
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		d.Fatal(err)
	}
	return undo
}

func TestReadOnlyRun(t *testing.T) {
	d := newDesk(t)
	undo := d.readOnly("run")
	d.refused("run/hybrid: read-only file system", "create", "-f", d.fw, "web")
	if out := d.must("list", "-q"); out != "" {
		t.Errorf("list %q", out)
	}
	d.refused("container web does not exist", "state", "web")
	d.must("delete", "--force", "web")
	undo()
	pid := d.run("web") // and with one that runs
	undo = d.readOnly("run")
	if s := d.state("web"); s.Status != "running" {
		t.Errorf("%+v", s)
	}
	d.must("kill", "web")
	d.end(pid)
	if state := d.attribute(0, "state"); state != "offline" {
		t.Errorf("the processor is %s", state)
	}
	d.refused("read-only file system", "delete", "web")
	undo()
	d.must("delete", "web")
}

// On a full disk nothing new comes, and what is there can be ended.
func TestFullRun(t *testing.T) {
	d := newDesk(t)
	unmount := d.mount("none", "run", "tmpfs", 0, "size=64k,nr_inodes=40")
	fill := func() {
		t.Helper()
		for n := 0; ; n++ {
			f, err := os.Create(filepath.Join(d.w.dir, "run", "file"+strings.Repeat("x", n)))
			if errors.Is(err, unix.ENOSPC) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = f.Write(make([]byte, 512))
			}
			f.Close()
		}
	}
	empty := func() {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(d.w.dir, "run/file*"))
		for _, f := range files {
			err = errors.Join(err, os.Remove(f))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fill()
	d.refused("no space left on device", "create", "-f", d.fw, "web")
	empty()
	if left := d.files(); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	for _, end := range []struct {
		name string
		end  func(pid int)
		code int
	}{
		{"stopped", func(int) { d.must("kill", "web") }, 0},
		{"killed", func(int) { d.must("kill", "web", "KILL") }, 137},
		{"crashed", func(int) { d.cores[0].Crash(sysfs.Watchdog) }, 139},
	} {
		pid := d.run("web")
		fill()
		end.end(pid)
		if code := d.end(pid); code != end.code {
			t.Errorf("%s: exit code %d, want %d", end.name, code, end.code)
		}
		if state := d.attribute(0, "state"); state != "offline" {
			t.Errorf("%s: the processor is %s", end.name, state)
		}
		d.must("delete", "web")
		empty()
	}
	d.clean()
	unmount()
}

func TestReadOnlyFirmware(t *testing.T) {
	d := newDesk(t)
	undo := d.readOnly("lib/firmware")
	d.refused("stage the firmware: ", "create", "-f", d.fw, "web")
	d.refused("read-only file system (set the kernel parameter firmware_class.path to a folder that can be written)", "create", "-f", d.fw, "web")
	parameter := filepath.Join(d.w.dir, "sys/module/firmware_class/parameters/path")
	if err := os.WriteFile(parameter, []byte("/var/firmware"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.run("web")
	if state := d.attribute(0, "state"); state != "running" {
		t.Errorf("the processor is %s", state)
	}
	d.must("delete", "--force", "web")
	undo()
}

// Without debugfs there is no output, and everything else works.
func TestNoDebugfs(t *testing.T) {
	d := newDesk(t)
	defer d.mount("none", "sys/kernel/debug", "tmpfs", 0, "")()
	pid := d.run("web")
	if log := d.must("logs", "web"); log != "" {
		t.Errorf("log %q", log)
	}
	d.cores[0].Crash(sysfs.Watchdog)
	if code := d.end(pid); code != 139 {
		t.Errorf("exit code %d", code)
	}
	d.must("delete", "web")
}

// A crash is seen by the kernel's log, and where that may not be read by looking at the
// state often. A machine that has other things to do may be late once; how fast it is is
// for the benchmark to say.
func TestCrashIsSeen(t *testing.T) {
	for name, noKmsg := range map[string]bool{"kernel log": false, "looking": true} {
		t.Run(name, func(t *testing.T) { crashIsSeen(t, noKmsg) })
	}
}

func crashIsSeen(t *testing.T, noKmsg bool) {
	d := newDeskWith(t, func(c *sysfs.Config) { c.NoKmsg = noKmsg })
	var took []time.Duration
	for range 5 {
		pid := d.run("web")
		start := time.Now()
		d.cores[0].Crash(sysfs.Watchdog)
		if code := d.end(pid); code != 139 {
			t.Errorf("exit code %d", code)
		}
		took = append(took, time.Since(start))
		d.must("delete", "web")
	}
	slices.Sort(took)
	t.Logf("from the crash to the exit: %v", took)
	// with the log the state is looked at once a second
	if most := 300 * time.Millisecond; took[3] > most {
		t.Errorf("from the crash to the exit it took %v, want %v at most", took[3], most)
	}
}

// Locks that are left, and what is in them, mean nothing: only who holds one counts.
func TestStaleLocks(t *testing.T) {
	d := newDesk(t)
	dir := filepath.Join(d.w.dir, "run/hybrid/processors")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"claims.lock", "stage.lock", "remoteproc0.lock", "remoteproc1.lock", "remoteproc7.lock"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("4711\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "remoteproc7.json"), []byte(`{"id": "gone", "root": "/run/x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := d.run("web")
	d.must("kill", "web")
	d.end(pid)
	d.must("delete", "web")
}
