//go:build kernel

package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sites are the system calls before which a verb is killed: those that change
// something outside of it, and those that stand between them.
var sites = []string{
	"openat", "newfstatat", "mkdirat", "write", "copy_file_range", "sendfile", "fsync", "renameat", "renameat2", "unlinkat", "linkat", "rmdir",
	"flock", "getdents64", "memfd_create", "socket", "bind", "listen", "connect", "socketpair", "clone", "waitid",
	"pidfd_open", "pidfd_send_signal", "ppoll", "exit_group",
}

// Each verb is killed at each of its system calls. Whatever it leaves, the verbs
// after it work and put everything back.
func TestKilledAnywhere(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("%v (apt-get install strace)", err)
	}
	d := newDesk(t)
	create := []string{"create", "--firmware", d.fw, "web"}
	// a container with all that is made around a firmware
	d.cgroup = d.ownCgroup() + "/web"
	hooks := `[{"path": "/bin/true"}, {"path": "/bin/true"}]`
	full := []string{"create", "--bundle", d.bundleWith(`"linux": {"cgroupsPath": "` + d.cgroup + `", "namespaces": [{"type": "uts"}]},
		"hooks": {"prestart": ` + hooks + `, "createContainer": ` + hooks + `, "startContainer": ` + hooks + `, "poststart": ` + hooks + `, "poststop": ` + hooks + `}`), "web"}
	runFull := func() int { d.must(full...); d.must("start", "web"); return d.state("web").PID }
	points := 0
	for _, c := range []struct {
		name   string
		before func()
		verb   []string
	}{
		{"create", func() {}, create},
		{"start", func() { d.must(create...) }, []string{"start", "web"}},
		{"kill TERM", func() { d.run("web") }, []string{"kill", "web"}},
		{"kill KILL", func() { d.run("web") }, []string{"kill", "web", "KILL"}},
		{"delete", func() { pid := d.run("web"); d.must("kill", "web"); d.end(pid) }, []string{"delete", "web"}},
		{"delete --force", func() { d.run("web") }, []string{"delete", "--force", "web"}},
		{"create of a bundle", func() {}, full},
		{"start of a bundle", func() { d.must(full...) }, []string{"start", "web"}},
		{"delete of a bundle", func() { pid := runFull(); d.must("kill", "web"); d.end(pid) }, []string{"delete", "web"}},
		{"delete --force of a bundle", func() { runFull() }, []string{"delete", "--force", "web"}},
		{"list of an orphan", func() { pid := d.run("web"); _ = unix.Kill(pid, unix.SIGKILL); d.end(pid) }, []string{"list"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := *d
			d.T = t
			begin, hit := time.Now(), 0
			for _, site := range sites {
				for n := 1; ; n++ {
					c.before()
					killed := d.killedAt(site, n, c.verb)
					if killed {
						hit++
					}
					d.recover()
					if t.Failed() {
						t.Fatalf("after a kill at %s %d", site, n)
					}
					if !killed {
						break
					}
				}
			}
			points += hit
			t.Logf("%d points in %v", hit, time.Since(begin).Round(time.Millisecond))
			if hit < 10 {
				t.Errorf("only %d points were hit: the test is blind", hit)
			}
		})
	}
	t.Logf("%d points", points)
}

// killedAt runs a verb that is killed when one of its threads makes the n-th call of
// site, and reports whether one did. Processes that it starts are left alone.
func (d *desk) killedAt(site string, n int, verb []string) bool {
	d.Helper()
	return killedAt(d.T, d.w.env, site, n, append([]string{"../../bin/hybrid-runtime"}, verb...))
}

// killedAt is that of any command of ours.
func killedAt(t *testing.T, env []string, site string, n int, command []string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args := []string{
		"-f", "--seccomp-bpf", "-qq", "-b", "execve", "-o", "/dev/null", "-e", "trace=" + site,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", site, n),
	}
	cmd := exec.CommandContext(ctx, "strace", append(args, command...)...)
	cmd.Env = env
	err := cmd.Run()
	var exit *exec.ExitError
	if err == nil {
		return false
	}
	if !errors.As(err, &exit) {
		t.Fatalf("%q: %v", cmd.Args, err)
	}
	status, _ := exit.Sys().(interface {
		Signaled() bool
		ExitStatus() int
	})
	if !status.Signaled() && status.ExitStatus() != 128+int(unix.SIGKILL) {
		t.Fatalf("%q: %v", cmd.Args, err)
	}
	return true
}

// monitorSites are the system calls before which the monitor is killed.
var monitorSites = []string{
	"accept4", "openat", "close", "read", "write", "pread64", "pwrite64", "unlinkat", "linkat", "renameat", "flock", "newfstatat", "getdents64",
	"epoll_ctl", "kill", "exit_group",
}

// The monitor is killed at each of its system calls, from the moment in which it has
// taken over from create. Whatever it leaves, the verbs after it put back.
func TestMonitorKilledAnywhere(t *testing.T) {
	d := newDesk(t)
	points := 0
	for _, c := range []struct {
		name   string
		before func() (pid int)
		act    func()
	}{
		{"start", func() int { d.must("create", "--firmware", d.fw, "web"); return d.state("web").PID }, func() { d.try("start", "web") }},
		{"stop", func() int { return d.run("web") }, func() { d.try("kill", "web") }},
		{"kill", func() int { return d.run("web") }, func() { d.try("kill", "web", "KILL") }},
		{"crash", func() int {
			d.must("run", "-d", "--coredump", d.w.dir+"/dumps", "-f", d.fw, "web")
			return d.state("web").PID
		}, func() { d.cores[0].Crash(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := *d
			d.T = t
			begin, hit := time.Now(), 0
			for _, site := range monitorSites {
				for n := 1; ; n++ {
					pid := c.before()
					killed := d.monitorKilledAt(pid, site, n, c.act, c.name != "start")
					if killed {
						hit++
					}
					list := d.must("list", "--format", "json")
					if strings.Contains(list, `"status":""`) {
						d.Errorf("the container is half there: %s", list)
					}
					d.must("delete", "--force", "web")
					d.clean()
					if !killed {
						d.recover() // and the next container runs
					}
					if t.Failed() {
						t.Fatalf("after a kill at %s %d", site, n)
					}
					if !killed {
						break
					}
				}
			}
			points += hit
			t.Logf("%d points in %v", hit, time.Since(begin).Round(time.Millisecond))
			if hit < 5 {
				t.Errorf("only %d points were hit: the test is blind", hit)
			}
		})
	}
	t.Logf("%d points", points)
}

// monitorKilledAt lets a monitor be killed when one of its threads makes the n-th call
// of site after act, and reports whether one did. With ends it ends in any case.
func (d *desk) monitorKilledAt(pid int, site string, n int, act func(), ends bool) bool {
	d.Helper()
	trace := filepath.Join(d.TempDir(), "trace")
	var strace *exec.Cmd
	for try := 0; ; try++ { // a thread that is made while strace attaches may escape it
		strace = exec.Command("strace", "-f", "-qq", "-o", trace, "-e", "trace="+site, "-e", "signal=none",
			"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", site, n), "-p", fmt.Sprint(pid))
		if err := strace.Start(); err != nil {
			d.Fatal(err)
		}
		// it may be killed at once, by a call that it makes now and then
		if held := waitFor(3*time.Second, func() bool { return traced(pid) || !slices.Contains(monitors(), pid) }); held {
			break
		}
		_ = strace.Process.Kill()
		_ = strace.Wait()
		if try == 5 {
			d.Fatalf("strace does not hold all threads of process %d: %s", pid, threadsOf(pid))
		}
	}
	act()
	if ends {
		d.eventually("the monitor has ended", func() bool { return !slices.Contains(monitors(), pid) })
	}
	_ = strace.Process.Kill() // the kernel lets the monitor go; asked to, strace waits for its threads
	_ = strace.Wait()
	b, err := os.ReadFile(trace)
	if err != nil {
		d.Fatal(err)
	}
	calls := map[string]int{} // by thread
	for line := range strings.Lines(string(b)) {
		if thread, call, _ := strings.Cut(line, " "); strings.HasPrefix(strings.TrimSpace(call), site+"(") {
			calls[thread]++
		}
	}
	for _, c := range calls {
		if c >= n {
			return true
		}
	}
	return false
}

// threadsOf says what the threads of a process do.
func threadsOf(pid int) string {
	var b strings.Builder
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, t := range threads {
		status, _ := os.ReadFile(t)
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "State:") || strings.HasPrefix(line, "TracerPid:") || strings.HasPrefix(line, "Pid:") {
				b.WriteString(strings.TrimSpace(line) + "; ")
			}
		}
	}
	return b.String()
}

func waitFor(timeout time.Duration, f func() bool) bool {
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if f() {
			return true
		}
	}
	return false
}

// traced reports whether all threads of a process are held by a tracer.
func traced(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, t := range threads {
		b, rerr := os.ReadFile(t)
		if rerr != nil || strings.Contains(string(b), "TracerPid:\t0\n") {
			return false
		}
	}
	return err == nil && len(threads) > 0
}

func (d *desk) monitorsGone() {
	d.Helper()
	d.eventually("no monitor runs", func() bool { return len(monitors()) == 0 })
}

// recover does what an engine does after a verb that failed, and wants everything to
// be back.
func (d *desk) recover() {
	d.Helper()
	list := d.must("list", "--format", "json")
	if strings.Contains(list, `"status":""`) {
		d.Errorf("a container is half there: %s", list)
	}
	if strings.Contains(list, `"id":"web"`) {
		d.try("start", "web")
		d.must("list")
	}
	d.must("delete", "--force", "web")
	d.monitorsGone() // of a create that was killed
	// what was made and never shown is the next one's to find
	d.must("create", "--firmware", d.fw, "--processor", "remoteproc0", "next")
	d.must("start", "next")
	if state := d.attribute(0, "state"); state != "running" {
		d.Errorf("the next container's processor is %s", state)
	}
	d.must("delete", "--force", "next")
	d.monitorsGone()
	d.clean()
	if left := cgroups(d.T, d.cgroup); d.cgroup != "" && len(left) > 0 {
		d.Errorf("cgroups are left: %q", left)
	}
	if rest, _ := filepath.Glob(filepath.Join(d.w.dir, "run/hybrid/containers/@*")); len(rest) > 0 {
		d.Errorf("left %q", rest)
	}
}
