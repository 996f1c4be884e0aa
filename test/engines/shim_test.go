//go:build engine

package engines

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// stage is a containerd with our shim.
type stage struct {
	place
	*ctr
	release
	dir, bin string
	daemon   *daemons.Daemon
}

// shims wants each release of containerd to show something of our shim.
func shims(t *testing.T, show func(t *testing.T, s *stage)) {
	bin, images := built(t), images(t)
	for name, r := range releases {
		t.Run(name, func(t *testing.T) {
			d, dir := ground(t)
			s := &stage{release: r, dir: dir, bin: filepath.Dir(bin)}
			s.daemon = r.daemon(t, d, dir, s.bin)
			s.ctr = r.client(t, s.daemon, dir, "--runtime", shimRuntime)
			s.place = place{engine: s.ctr, d: d, id: idPrefix + "shim"}
			for _, i := range images {
				s.load(t, i)
			}
			defer func() { // before the containerd of the end is stopped
				if t.Failed() {
					s.place.forget(s.id)
				}
			}()
			show(t, s)
			d.WantIdle(t)
			wantShims(t, dir, 0)
		})
	}
}

// wantShims wants so many of our shims to run for the containerd in dir, and
// returns them.
func wantShims(t *testing.T, dir string, n int) (pids []int) {
	t.Helper()
	fixture.Eventually(t, func() error {
		found := map[int]string{}
		for pid, line := range fixture.Processes(t) {
			if strings.Contains(line, "containerd-shim-hybrid-v1 ") && strings.Contains(line, dir) {
				found[pid] = line
			}
		}
		pids = slices.Collect(maps.Keys(found))
		if len(pids) != n {
			return fmt.Errorf("shims %v, want %d", found, n)
		}
		return nil
	})
	return pids
}

func TestShimOutlivesContainerd(t *testing.T) {
	shims(t, func(t *testing.T, s *stage) {
		pid := s.up(t)
		shim := wantShims(t, s.dir, 1)[0]
		s.daemon.Kill(t)
		if state := s.d.State(); state != "running" {
			t.Errorf("without containerd the processor is %s", state)
		}
		s.daemon = s.release.daemon(t, s.d, s.dir, s.bin)
		if again := s.runs(t, 0); again != pid {
			t.Errorf("process %d, was %d", again, pid)
		}
		if again := wantShims(t, s.dir, 1)[0]; again != shim {
			t.Errorf("shim %d, was %d", again, shim)
		}
		s.kill(t, s.id)
		s.ends(t, 137)
		s.remove(t, s.id)
	})
}

// What crashed while there was no containerd is known to the next. Since 2.0 it
// removes tasks without a process as soon as it finds them, those of runc too.
func TestCrashWithoutContainerd(t *testing.T) {
	shims(t, func(t *testing.T, s *stage) {
		s.up(t)
		s.daemon.Kill(t)
		s.d.Crash()
		fixture.Eventually(t, func() error {
			if state := s.d.State(); state != "offline" {
				return fmt.Errorf("the processor is %s", state)
			}
			return nil
		})
		s.daemon = s.release.daemon(t, s.d, s.dir, s.bin)
		if s.from == debian.from {
			s.ends(t, 139)
		} else if f := s.task(t, s.id); f != nil {
			t.Errorf("task %q", f)
		}
		s.ctr.start(t, s.id)
		s.runs(t, 0)
		s.removeForce(t, s.id)
	})
}

// A shim that is killed leaves a monitor to nobody: containerd has it cleaned up.
func TestShimKilled(t *testing.T) {
	shims(t, func(t *testing.T, s *stage) {
		monitor := s.up(t)
		events := s.events(t)
		shim := wantShims(t, s.dir, 1)[0]
		if err := unix.Kill(shim, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		fixture.Eventually(t, func() error {
			if line := fixture.Processes(t)[monitor]; line != "" {
				return fmt.Errorf("the monitor lives: %s", line)
			}
			if f := s.task(t, s.id); f != nil && f[2] == "RUNNING" {
				return fmt.Errorf("containerd has a task %q", f)
			}
			for line := range strings.Lines(events()) {
				if strings.Contains(line, " /tasks/exit ") && strings.Contains(line, s.id) && strings.Contains(line, `"exit_status":137`) {
					return nil
				}
			}
			return fmt.Errorf("no exit event: %s", events())
		})
		s.d.WantIdle(t)
		s.forget(s.id)
		s.up(t) // all is as if it had never been
		s.removeForce(t, s.id)
	})
}

// With the shim of a pod all of its containers end, whoever runs them.
func TestShimOfPodKilled(t *testing.T) {
	shims(t, func(t *testing.T, s *stage) {
		s.flags = append(s.flags, "--annotation", "io.kubernetes.cri.sandbox-id="+idPrefix+"pod")
		s.up(t)
		linux := s.id + "-linux"
		t.Cleanup(func() { s.forget(linux) })
		if r := s.run(linux, imageLinux, options{}); r.code != 0 {
			t.Fatalf("run: %+v", r)
		}
		pids := map[string]string{} // of the containers
		for _, id := range []string{s.id, linux} {
			if f := s.task(t, id); f != nil {
				pids[id] = f[1]
			}
		}
		if len(pids) != 2 {
			t.Fatalf("tasks %q", pids)
		}
		if err := unix.Kill(wantShims(t, s.dir, 1)[0], unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		fixture.Eventually(t, func() error {
			for id, pid := range pids {
				if line, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && len(line) > 0 {
					return fmt.Errorf("process %s of %s lives: %q", pid, id, line)
				}
				if f := s.task(t, id); f != nil && f[2] == "RUNNING" {
					return fmt.Errorf("containerd has a task %q", f)
				}
			}
			return nil
		})
		s.d.WantIdle(t)
		s.forget(s.id)
		s.forget(linux)
		s.up(t)
		s.removeForce(t, s.id)
	})
}

// events are those of containerd from now on.
func (s *stage) events(t *testing.T) func() string {
	t.Helper()
	file, err := os.Create(filepath.Join(s.dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(s.args[0], append(s.args[1:len(s.args):len(s.args)], "events")...)
	cmd.Stdout = file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	read := func() string {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	// it listens when it tells of something
	fixture.Eventually(t, func() error {
		s.must(t, "containers", "label", s.id, "seen=yes")
		if read() == "" {
			return fmt.Errorf("no events")
		}
		return nil
	})
	return read
}

// The containers of a pod have one shim.
func TestShimPerPod(t *testing.T) {
	shims(t, func(t *testing.T, s *stage) {
		s.flags = append(s.flags, "--annotation", "io.kubernetes.cri.sandbox-id="+idPrefix+"pod")
		s.up(t)
		shim := wantShims(t, s.dir, 1)[0]
		linux := s.id + "-linux"
		t.Cleanup(func() { s.forget(linux) })
		if r := s.run(linux, imageLinux, options{}); r.code != 0 {
			t.Fatalf("run: %+v", r)
		}
		if again := wantShims(t, s.dir, 1)[0]; again != shim {
			t.Errorf("shim %d, was %d", again, shim)
		}
		s.kill(t, s.id)
		s.ends(t, 137)
		s.remove(t, s.id)
		if st := s.ctr.state(t, linux); !st.running {
			t.Errorf("the Linux container ended with the firmware: %+v", st)
		}
		wantShims(t, s.dir, 1)
		s.kill(t, linux)
		if code := s.wait(t, linux); code != 137 {
			t.Errorf("exit code %d of the Linux container", code)
		}
		s.remove(t, linux)
	})
}

// The options of a runtime that is not containerd's own come as TOML, as Kubernetes
// has it: here they name another binary and another root.
func TestShimOptions(t *testing.T) {
	shims(t, func(t *testing.T, s *stage) {
		script, called := filepath.Join(s.dir, "runtime"), filepath.Join(s.dir, "called")
		root := filepath.Join(s.dir, "states")
		text := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\nexec %s/hybrid-runtime \"$@\"\n", called, s.bin)
		file := filepath.Join(s.dir, "options.toml")
		if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, fmt.Appendf(nil, "BinaryName = %q\nRoot = %q\n", script, root), 0o600); err != nil {
			t.Fatal(err)
		}
		s.flags = append(s.flags, "--runtime-config-path", file)
		s.up(t)
		s.kill(t, s.id)
		s.ends(t, 137)
		s.remove(t, s.id)
		said, err := os.ReadFile(called)
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"create", "start", "kill", "delete"} {
			if !bytes.Contains(said, []byte(" "+verb+" ")) {
				t.Errorf("%s was not called: %s", verb, said)
			}
		}
		for line := range strings.Lines(string(said)) {
			if !strings.HasPrefix(line, "features") && !strings.HasPrefix(line, "--root "+root+"/default ") {
				t.Errorf("another root: %s", line)
			}
		}
	})
}
