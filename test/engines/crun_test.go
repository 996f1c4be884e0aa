//go:build engine

package engines

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// No test is on the first thread, which /proc/self is about: it does not end with one.
func init() { runtime.LockOSThread() }

// unified gives the test's thread, and what it starts, a /sys/fs/cgroup of version 2
// alone: crun takes no machine with both. The thread ends with the test.
func unified(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	for _, err := range []error{
		unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrun: verbs on a Linux container reach crun, and it is crun that answers.
func TestCrun(t *testing.T) {
	bin, engines := built(t), daemons.Dir(t)
	crun := filepath.Join(engines, "crun/usr/bin/crun")
	libraries, err := filepath.Glob(filepath.Join(engines, "crun/usr/lib/*"))
	if err != nil || len(libraries) != 1 {
		t.Fatalf("%q, %v (make engines)", libraries, err)
	}
	before := fixture.Machine(t)
	dir := t.TempDir()
	root, bundle := filepath.Join(dir, "root"), filepath.Join(dir, "bundle")
	busybox, err := os.ReadFile(filepath.Join(engines, "runc/bin/busybox"))
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	const cgroup = idPrefix + "crun"
	config, err := json.Marshal(object{
		"ociVersion": "1.0.2",
		"process":    object{"args": []string{"/busybox", "sleep", "1000"}, "cwd": "/", "user": object{"uid": 0, "gid": 0}},
		"root":       object{"path": "rootfs"},
		"mounts":     []object{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux": object{
			"cgroupsPath": "/" + cgroup,
			"namespaces":  []object{{"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.MkdirAll(filepath.Join(bundle, "rootfs/proc"), 0o755),
		os.Mkdir(filepath.Join(bundle, "rootfs/dev"), 0o755),
		os.WriteFile(filepath.Join(bundle, "rootfs/busybox"), busybox, 0o755),
		os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	unified(t)
	folder := "/sys/fs/cgroup/" + cgroup
	try := func(args ...string) result {
		t.Helper()
		var out, errOut bytes.Buffer
		cmd := exec.CommandContext(t.Context(), bin, append([]string{"--runtime-delegate", crun, "--sysroot", filepath.Join(dir, "board")}, args...)...)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries[0])
		cmd.Stdout, cmd.Stderr = &out, &errOut
		cmd.WaitDelay = time.Second / 4 // the container has our output as its own
		err := cmd.Run()
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
	}
	must := func(args ...string) string {
		t.Helper()
		r := try(args...)
		if r.code != 0 {
			t.Fatalf("%q: exit code %d: %s%s", args, r.code, r.out, r.err)
		}
		return r.out
	}
	state := func() (s struct {
		Status, Bundle string
		PID            int
	},
	) {
		t.Helper()
		if err := json.Unmarshal([]byte(must("state", "--root", root, "web")), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := func(status string) {
		t.Helper()
		fixture.Eventually(t, func() error {
			if s := state(); s.Status != status {
				return fmt.Errorf("it is %s, want %s", s.Status, status)
			}
			return nil
		})
	}
	gone := func() {
		t.Helper()
		if r := try("--root", root, "state", "web"); r.code != 1 || !strings.Contains(r.err, "does not exist") {
			t.Errorf("state of what was deleted: %+v", r)
		}
		for _, name := range []string{filepath.Join(root, "web"), folder} {
			if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is left: %v", name, err)
			}
		}
	}
	defer func() {
		if t.Failed() {
			try("--root", root, "delete", "--force", "web")
		}
		_ = unix.Unmount("/sys/fs/cgroup", 0)
		daemons.WantNothingLeft(t, dir)
		fixture.WantMachine(t, before)
	}()
	frozen := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(folder + "/cgroup.freeze"); err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("cgroup.freeze is %q, %v, want %s", b, err, want)
		}
	}

	pidFile := filepath.Join(dir, "pid")
	must("--root", root, "create", "--bundle", bundle, "--pid-file", pidFile, "web")
	if _, err := os.Stat(filepath.Join(root, "web/status")); err != nil {
		t.Errorf("it is not crun's: %v", err)
	}
	want("created")
	must("--root", root, "start", "web")
	want("running")
	s := state()
	if b, err := os.ReadFile(pidFile); err != nil || string(b) != strconv.Itoa(s.PID) || s.Bundle != bundle {
		t.Errorf("%+v, and the file of the process says %q, %v", s, b, err)
	}
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.PID)); err != nil || string(line) != "/busybox\x00sleep\x001000\x00" {
		t.Errorf("process %d is %q, %v", s.PID, line, err)
	}
	var pids []int
	if err := json.Unmarshal([]byte(must("ps", "--root", root, "--format", "json", "web")), &pids); err != nil || !slices.Equal(pids, []int{s.PID}) {
		t.Errorf("ps: %v, %v, want %d", pids, err, s.PID)
	}
	if out := must("--root", root, "exec", "web", "/busybox", "echo", "--root", "hello"); out != "--root hello\n" {
		t.Errorf("exec: %q", out)
	}
	must("--root", root, "pause", "web")
	want("paused")
	frozen("1")
	must("resume", "--root", root, "web")
	want("running")
	frozen("0")
	if r := try("--root", root, "delete", "web"); r.code != 1 || state().Status != "running" {
		t.Errorf("delete of one that runs: %+v", r)
	}
	must("kill", "--root", root, "web", "KILL")
	want("stopped")
	must("delete", "--root", root, "web")
	gone()

	must("--root", root, "run", "--detach", "--bundle", bundle, "web")
	want("running")
	if out := must("--root", root, "list", "--format", "json"); out != "[]\n" {
		t.Errorf("crun's container is listed as ours: %s", out)
	}
	must("delete", "--force", "--root", root, "web")
	gone()
}
