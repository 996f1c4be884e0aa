//go:build kernel

package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

// desk is a simulated board with two processors of a kind, whose containers are
// this process's children, as they are an engine's: it sees how they end.
type desk struct {
	*testing.T
	w     *simulated
	fw    string // a firmware file
	cores [2]*sysfs.Core

	cgroup string // of containers that have one
	// booted says that a boot loader started the cores: what becomes of them is the
	// test's to look at.
	booted bool
}

// traceSize is the size of the firmware's trace buffer: more than a log holds.
const traceSize = 600 << 10

func newDesk(t *testing.T) *desk {
	t.Helper()
	return newDeskWith(t, func(*sysfs.Config) {})
}

// newDeskWith is newDesk with another simulation.
func newDeskWith(t *testing.T, change func(*sysfs.Config)) *desk {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	w, err := newSimulated(t.TempDir(), change, "m4-0", "m4-1")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, w: w, fw: filepath.Join(t.TempDir(), "fw.elf"), cores: [2]*sysfs.Core{w.server.Core(0), w.server.Core(1)}}
	elf := elftest.File{
		Segments: []elftest.Segment{{Addr: 0x60000000, Data: []byte("code"), MemSize: 0x1000 + traceSize}},
		Table:    elftest.Table(elftest.Trace(0x60001000, traceSize, "trace")),
	}
	if err := os.WriteFile(d.fw, elf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.clean()
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// try runs hybrid-runtime.
func (d *desk) try(args ...string) result {
	d.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	code, err := d.w.run(ctx, &out, &errOut, append([]string{"hybrid-runtime"}, args...)...)
	if err != nil {
		d.Errorf("%q: %v", args, err)
	}
	return result{code, out.String(), errOut.String()}
}

// must runs hybrid-runtime, which must succeed.
func (d *desk) must(args ...string) string {
	d.Helper()
	r := d.try(args...)
	if r.code != 0 {
		d.Fatalf("%q: exit code %d: %s", args, r.code, r.err)
	}
	return r.out
}

// refused runs hybrid-runtime, which must fail with one line that says so.
func (d *desk) refused(says string, args ...string) { d.Helper(); d.refusedWith(1, says, args...) }

// refusedWith wants an exit code, and these words in one line.
func (d *desk) refusedWith(code int, says string, args ...string) {
	d.Helper()
	if r := d.try(args...); r.code != code || !strings.Contains(r.err, says) || strings.Count(r.err, "\n") != 1 {
		d.Errorf("%q: exit code %d: %q, want %q", args, r.code, r.err, says)
	}
}

// status is the answer of state.
type status struct {
	ID, Status  string
	PID         int
	Annotations map[string]string
}

func (d *desk) state(id string) status {
	d.Helper()
	var s status
	if err := json.Unmarshal([]byte(d.must("state", id)), &s); err != nil {
		d.Fatal(err)
	}
	return s
}

// run creates and starts a container, and returns its process.
func (d *desk) run(id string) (pid int) {
	d.Helper()
	d.must("create", "--firmware", d.fw, id)
	d.must("start", id)
	return d.state(id).PID
}

// end waits for the process of a container, as its engine does: an exit code, or
// 128 and the signal.
func (d *desk) end(pid int) int {
	d.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var s unix.WaitStatus
		got, err := unix.Wait4(pid, &s, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			d.Fatalf("wait for process %d: %v", pid, err)
		case got == pid && s.Signaled():
			return 128 + int(s.Signal())
		case got == pid:
			return s.ExitStatus()
		}
	}
	d.Fatalf("process %d does not end", pid)
	return 0
}

// attribute reads an attribute of a processor.
func (d *desk) attribute(core int, name string) string {
	d.Helper()
	b, err := os.ReadFile(filepath.Join(d.w.dir, fmt.Sprintf("sys/class/remoteproc/remoteproc%d", core), name))
	if err != nil {
		d.Error(err)
	}
	return strings.TrimSpace(string(b))
}

// clean wants nothing to be left of any container.
func (d *desk) clean() {
	d.Helper()
	for core := range d.cores {
		for name, want := range map[string]string{"state": "offline", "firmware": "rproc-m4-fw", "recovery": "enabled"} {
			if got := d.attribute(core, name); got != want && (!d.booted || name == "recovery") {
				d.Errorf("remoteproc%d is left with %s %s", core, name, got)
			}
		}
	}
	if files := d.files(); len(files) > 0 {
		d.Errorf("files are left: %q", files)
	}
	if left := monitors(); len(left) > 0 {
		d.Errorf("processes are left: %v", left)
	}
}

// files are those that containers make, without locks.
func (d *desk) files() []string {
	var found []string
	for _, dir := range []string{"run/hybrid/containers", "run/hybrid/processors", "lib/firmware"} {
		dir = filepath.Join(d.w.dir, dir)
		_ = filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
			if err == nil && name != dir && filepath.Ext(name) != ".lock" {
				found = append(found, strings.TrimPrefix(name, d.w.dir))
			}
			return nil
		})
	}
	return found
}

// monitors are the children of this process that are monitors, or commands that their
// parent was killed beside; the dead are waited for.
func monitors() []int {
	var alive []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		switch {
		case fields[0] == "Z": // a test that runs serially waits for all its commands
			// its first thread may be dead before the others, which hold its locks
			if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err == nil && got == 0 {
				alive = append(alive, pid)
			}
		case strings.HasPrefix(string(line), "hybrid-monitor\x00"), strings.Contains(string(line), "bin/hybrid-runtime\x00"): // or is about to become one
			alive = append(alive, pid)
		}
	}
	return alive
}

// descriptors are a process's open files by number.
func descriptors(t *testing.T, pid int) map[int]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	open := map[int]string{}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && to != fmt.Sprintf("/proc/%d/fd", pid) {
			fd, _ := strconv.Atoi(e.Name())
			open[fd] = to
		}
	}
	return open
}

// bundle makes an OCI bundle with the firmware, and these annotations.
func (d *desk) bundle(annotations string) string {
	d.Helper()
	return d.bundleWith(`"annotations": {` + annotations + `}`)
}

// bundleWith makes an OCI bundle with the firmware, and these properties besides.
func (d *desk) bundleWith(properties string) string {
	d.Helper()
	dir := d.TempDir()
	elf, err := os.ReadFile(d.fw)
	for name, content := range map[string]string{
		"config.json": `{"ociVersion": "1.0.2", "process": {"args": ["fw.elf"], "cwd": "/", "env": ["HYBRID_BOARD=qemu-virt", "HYBRID_MCU=cortex-m4"]},
			"root": {"path": "rootfs"}, ` + properties + `}`,
		"rootfs/fw.elf": string(elf),
	} {
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
		}
	}
	if err != nil {
		d.Fatal(err)
	}
	return dir
}

// createWith creates a container of a bundle with this standard output and error,
// and further descriptors that it must not keep.
func (d *desk) createWith(id string, out *os.File, more ...*os.File) (pid int) {
	d.Helper()
	cmd := exec.Command("../../bin/hybrid-runtime", "create", "--bundle", d.bundle(""), id)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = d.w.env, out, out, more
	if err := cmd.Run(); err != nil {
		d.Fatalf("create: %v", err)
	}
	return d.state(id).PID
}

// eventually waits until f says so.
func (d *desk) eventually(what string, f func() bool) {
	d.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			d.Fatalf("it never came to this: %s", what)
		}
	}
}

func sorted(m map[int]string) []string {
	var s []string
	for fd, to := range m {
		s = append(s, fmt.Sprintf("%d %s", fd, to))
	}
	slices.Sort(s)
	return s
}
