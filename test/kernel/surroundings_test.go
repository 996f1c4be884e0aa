//go:build kernel

package kernel

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cgroups are the folders of a cgroup, in every hierarchy that has it.
func cgroups(t *testing.T, below string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} { // version 2, and version 1
		dirs, err := filepath.Glob(filepath.Join(pattern, below))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, dirs...)
	}
	return found
}

// ownCgroup is a cgroup path that nobody else has, whose folders, which an engine would keep, are
// removed with the test.
func (d *desk) ownCgroup() string {
	name := fmt.Sprintf("/hybrid-test-%d", os.Getpid())
	d.Cleanup(func() {
		for _, dir := range cgroups(d.T, name) {
			if err := os.Remove(dir); err != nil {
				d.Error(err)
			}
		}
	})
	return name
}

// The monitor is in the cgroup of every hierarchy, within limits that let it live, and
// the cgroup goes with the container.
func TestCgroup(t *testing.T) {
	d := newDesk(t)
	above := d.ownCgroup()
	path := above + "/web"
	bundle := d.bundleWith(`"linux": {"cgroupsPath": "` + path + `", "resources": {"memory": {"limit": 6291456}, "pids": {"limit": 3}, "cpu": {"shares": 512, "quota": 1000, "period": 100000, "cpus": "0"}}}`)
	d.must("create", "--bundle", bundle, "web")
	pid := d.state("web").PID
	mounted, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	dirs := cgroups(t, path)
	if want := strings.Count(string(mounted), "\ncgroup ") + strings.Count(string(mounted), "\ncgroup2 "); len(dirs) != want || want == 0 {
		t.Errorf("%d cgroups are made, %d hierarchies are mounted: %q", len(dirs), want, dirs)
	}
	for _, dir := range dirs {
		if b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || strings.TrimSpace(string(b)) != fmt.Sprint(pid) {
			t.Errorf("%s holds %q, %v, want %d", dir, b, err, pid)
		}
	}
	for name, want := range map[string]string{
		"memory.limit_in_bytes": "33554432", "memory.max": "33554432", "pids.max": "64", "cpu.shares": "512", "cpuset.cpus": "0",
		"cpu.cfs_quota_us": "-1", "cpu.max": "max 100000",
	} {
		for _, file := range cgroups(t, filepath.Join(path, name)) {
			if b, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(b)) != want {
				t.Errorf("%s is %q, %v, want %s", file, b, err, want)
			}
		}
	}
	d.must("start", "web")
	d.must("kill", "web")
	d.end(pid)
	if left := cgroups(t, path); len(left) != len(dirs) {
		t.Errorf("before delete there are %q", left)
	}
	d.must("delete", "web")
	if left := cgroups(t, path); len(left) > 0 {
		t.Errorf("left %q", left)
	}

	t.Run("systemd", func(t *testing.T) {
		d := *d
		d.T = t
		slice := strings.TrimPrefix(strings.ReplaceAll(above, "-", ""), "/") // one level
		bundle := d.bundleWith(`"linux": {"cgroupsPath": "` + slice + `.slice:docker:web"}`)
		t.Cleanup(func() {
			for _, dir := range cgroups(t, slice+".slice") {
				if err := os.Remove(dir); err != nil {
					t.Error(err)
				}
			}
		})
		d.must("--systemd-cgroup", "create", "--bundle", bundle, "web")
		if made := cgroups(t, slice+".slice/docker-web.scope"); len(made) != len(dirs) {
			t.Errorf("made %q", made)
		}
		d.must("delete", "--force", "web")
		if left := cgroups(t, slice+".slice/docker-web.scope"); len(left) > 0 {
			t.Errorf("left %q", left)
		}
		d.refused(`linux.cgroupsPath: "`+path+`": want SLICE:PREFIX:NAME`, "--systemd-cgroup", "create", "--bundle", d.bundleWith(`"linux": {"cgroupsPath": "`+path+`"}`), "web")
	})

	t.Run("errors", func(t *testing.T) {
		d := *d
		d.T = t
		for properties, says := range map[string]string{
			`"linux": {"cgroupsPath": "/../"}`:                                                                                                "is the root of all cgroups",
			`"linux": {"cgroupsPath": "` + path + `\nx"}`:                                                                                     "make the cgroup: mkdir ",
			`"linux": {"cgroupsPath": "` + path + `", "resources": {"cpu": {"cpus": "4000"}}}`:                                                "limit the cgroup: write ",
			`"linux": {"cgroupsPath": "` + path + `"}, "hooks": {"createRuntime": [{"path": "/bin/false"}]}`:                                  "hook createRuntime /bin/false: exit status 1",
			`"linux": {"cgroupsPath": "` + path + `", "namespaces": [{"type": "network", "path": "/nonexistent"}]}`:                           "no such file or directory",
			`"linux": {"cgroupsPath": "` + path + `", "namespaces": [{"type": "user"}]}`:                                                      "a user namespace would take the rights away",
			`"linux": {"cgroupsPath": "` + path + `"}, "hooks": {"poststop": [{"path": "/bin/true", "timeout": 0}]}`:                          "timeout 0 is not greater than zero",
			`"linux": {"cgroupsPath": "` + path + `"}, "hooks": {"prestart": [{"path": "/bin/sleep", "args": ["sleep", "9"], "timeout": 1}]}`: "did not end within its timeout of 1 s",
		} {
			d.refused(says, "create", "--bundle", d.bundleWith(properties), "web")
			d.clean()
			if left := cgroups(t, path); len(left) > 0 {
				t.Errorf("%s: left %q", properties, left)
			}
		}
	})

	t.Run("busy", func(t *testing.T) {
		d := *d
		d.T = t
		bundle := d.bundleWith(`"linux": {"cgroupsPath": "` + path + `"}`)
		d.must("create", "--bundle", bundle, "web")
		pid := d.state("web").PID
		dir := cgroups(t, path)[0]
		sleep := sleepIn(t, dir)
		d.must("kill", "web")
		d.end(pid)
		d.refused("remove the cgroup: rmdir "+dir+": device or resource busy", "delete", "web")
		if err := sleep.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = sleep.Wait()
		d.must("delete", "web")
		if left := cgroups(t, path); len(left) > 0 {
			t.Errorf("left %q", left)
		}
	})
	t.Run("by force", func(t *testing.T) {
		d := *d
		d.T = t
		bundle := d.bundleWith(`"linux": {"cgroupsPath": "` + path + `"}`)
		d.must("create", "--bundle", bundle, "web")
		below := filepath.Join(cgroups(t, path)[0], "below")
		if err := os.Mkdir(below, 0o755); err != nil {
			t.Fatal(err)
		}
		sleep := sleepIn(t, below)
		ended := make(chan error, 1)
		go func() { ended <- sleep.Wait() }()
		d.must("delete", "--force", "web")
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("the process in the cgroup ended with %v", err)
		}
		if left := cgroups(t, path); len(left) > 0 {
			t.Errorf("left %q", left)
		}
	})
	t.Run("somebody else's", func(t *testing.T) {
		d := *d
		d.T = t
		bundle := d.bundleWith(`"linux": {"cgroupsPath": "` + path + `"}`)
		d.must("create", "--bundle", bundle, "web")
		pid := d.state("web").PID
		d.refused(fmt.Sprintf("linux.cgroupsPath %s: process %d is in that cgroup already", path, pid), "create", "--bundle", bundle, "other")
		if now := d.state("web"); now.Status != "created" || now.PID != pid {
			t.Errorf("%+v", now)
		}
		d.must("delete", "--force", "web")
		d.clean()
	})
}

// sleepIn is a process that sleeps in a cgroup.
func sleepIn(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleep.Process.Kill() })
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(sleep.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	return sleep
}

func namespaceOf(t *testing.T, pid int, kind string) string {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// The monitor gets the namespaces that make sense, or joins those of another process.
func TestNamespaces(t *testing.T) {
	d := newDesk(t)
	kinds := []string{"net", "uts", "ipc", "mnt", "pid", "cgroup", "user", "time"}
	own := map[string]string{}
	for _, k := range kinds {
		own[k] = namespaceOf(t, os.Getpid(), k)
	}
	all := `"linux": {"namespaces": [{"type": "network"}, {"type": "uts"}, {"type": "ipc"}, {"type": "mount"}, {"type": "pid"}, {"type": "cgroup"}, {"type": "time"}]}`
	d.must("create", "--bundle", d.bundleWith(all), "web")
	pid := d.state("web").PID
	for _, k := range kinds {
		if isOwn, want := namespaceOf(t, pid, k) == own[k], k != "net" && k != "uts" && k != "ipc"; isOwn != want {
			t.Errorf("%s is ours: %v, want %v", k, isOwn, want)
		}
	}
	d.must("start", "web")
	d.eventually("the greeting", func() bool { return strings.Contains(d.must("logs", "web"), greeting) })

	joined := fmt.Sprintf(`"linux": {"namespaces": [{"type": "network", "path": "/proc/%[1]d/ns/net"}, {"type": "ipc", "path": "/proc/%[1]d/ns/ipc"}, {"type": "pid", "path": "/proc/%[1]d/ns/pid"}]}`, pid)
	d.must("create", "--bundle", d.bundleWith(joined), "second")
	second := d.state("second").PID
	for _, k := range kinds {
		want := own[k]
		if k == "net" || k == "ipc" {
			want = namespaceOf(t, pid, k)
		}
		if got := namespaceOf(t, second, k); got != want {
			t.Errorf("the second one's %s is %s, want %s", k, got, want)
		}
	}
	d.must("delete", "--force", "second")
	d.must("delete", "--force", "web")
}

// Hooks run in their order, where they belong, with the state that is then.
func TestHooks(t *testing.T) {
	d := newDesk(t)
	dir := t.TempDir()
	record := filepath.Join(dir, "record")
	script := filepath.Join(dir, "hook")
	text := `#!/bin/sh
exec 9>>` + record + `
printf '%s\t%s\t%s\t' "$0" "$1" "$(readlink /proc/self/ns/uts)" >&9
cat >&9
echo >&9
[ "$2" = fail ] && { echo "it says no" >&2; exit 7; }
exit 0
`
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	// hooks with one that fails, for a container with a namespace of its own
	bundle := func(failing string) string {
		var kinds []string
		for _, k := range []string{"poststop", "poststart", "startContainer", "createContainer", "createRuntime", "prestart"} {
			verdict := "ok"
			if k == failing {
				verdict = "fail"
			}
			kinds = append(kinds, fmt.Sprintf(`%[1]q: [{"path": %[2]q, "args": ["hook", "%[1]s 1"], "env": ["PATH=/bin:/usr/bin"]}, {"path": %[2]q, "args": ["hook", "%[1]s 2", %[3]q], "env": ["PATH=/bin:/usr/bin"]}, {"path": %[2]q, "args": ["hook", "%[1]s 3"], "env": ["PATH=/bin:/usr/bin"]}]`, k, script, verdict))
		}
		return d.bundleWith(`"hooks": {` + strings.Join(kinds, ", ") + `}, "linux": {"namespaces": [{"type": "uts"}]}, "annotations": {"a": "b"}`)
	}
	type ran struct{ hook, uts, state string }
	recorded := func() (hooks []string, all []ran) {
		b, err := os.ReadFile(record)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		_ = os.Remove(record)
		for line := range strings.Lines(string(b)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			hooks, all = append(hooks, f[1]), append(all, ran{f[1], f[2], f[3]})
		}
		return hooks, all
	}
	three := func(kinds ...string) (want []string) {
		for _, k := range kinds {
			for _, n := range []string{" 1", " 2", " 3"} {
				want = append(want, k+n)
			}
		}
		return want
	}

	good := bundle("")
	d.must("create", "--bundle", good, "web")
	pid := d.state("web").PID
	uts := namespaceOf(t, pid, "uts")
	hooks, all := recorded()
	if want := three("prestart", "createRuntime", "createContainer"); !slices.Equal(hooks, want) {
		t.Errorf("create runs %q, want %q", hooks, want)
	}
	// what config.json says later counts no more
	if err := os.WriteFile(filepath.Join(good, "config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.must("start", "web")
	hooks, more := recorded()
	if want := three("startContainer", "poststart"); !slices.Equal(hooks, want) {
		t.Errorf("start runs %q, want %q", hooks, want)
	}
	all = append(all, more...)
	d.must("kill", "web")
	d.end(pid)
	d.must("delete", "web")
	hooks, more = recorded()
	if want := three("poststop"); !slices.Equal(hooks, want) {
		t.Errorf("delete runs %q, want %q", hooks, want)
	}
	for _, r := range append(all, more...) {
		kind, _, _ := strings.Cut(r.hook, " ")
		status, inside := "creating", false
		switch kind {
		case "createContainer":
			inside = true
		case "startContainer":
			status, inside = "created", true
		case "poststart":
			status = "running"
		case "poststop":
			status = "stopped"
		}
		var s struct {
			OCIVersion, ID, Status, Bundle string
			PID                            int
			Annotations                    map[string]string
		}
		if err := json.Unmarshal([]byte(r.state), &s); err != nil {
			t.Fatalf("%s: %q: %v", r.hook, r.state, err)
		}
		if s.OCIVersion != "1.0.2" || s.ID != "web" || s.Status != status || s.Bundle != good || (s.PID == pid) == (kind == "poststop") || s.Annotations["a"] != "b" {
			t.Errorf("%s: state %s", r.hook, r.state)
		}
		if (r.uts == uts) != inside {
			t.Errorf("%s runs in the container's namespaces: %v, want %v", r.hook, !inside, inside)
		}
	}

	for _, c := range []struct {
		failing, verb string
		want          []string
	}{
		{"prestart", "create", append([]string{"prestart 1", "prestart 2"}, three("poststop")...)},
		{"createRuntime", "create", append(three("prestart"), append([]string{"createRuntime 1", "createRuntime 2"}, three("poststop")...)...)},
		{"createContainer", "create", append(three("prestart", "createRuntime"), append([]string{"createContainer 1", "createContainer 2"}, three("poststop")...)...)},
		{"startContainer", "start", append(three("prestart", "createRuntime", "createContainer"), append([]string{"startContainer 1", "startContainer 2"}, three("poststop")...)...)},
		{"poststart", "start", append(three("prestart", "createRuntime", "createContainer", "startContainer"), append([]string{"poststart 1", "poststart 2"}, three("poststop")...)...)},
	} {
		t.Run(c.failing, func(t *testing.T) {
			d := *d
			d.T = t
			says := "hook " + c.failing + " " + script + ": exit status 7: it says no"
			if c.verb == "create" {
				d.refused(says, "create", "--bundle", bundle(c.failing), "web")
			} else {
				d.must("create", "--bundle", bundle(c.failing), "web")
				d.refused(says, "start", "web")
				if s := d.state("web"); s.Status != "stopped" {
					t.Errorf("state %+v", s)
				}
				d.must("delete", "web")
			}
			if hooks, _ := recorded(); !slices.Equal(hooks, c.want) {
				t.Errorf("it runs %q, want %q", hooks, c.want)
			}
			d.monitorsGone()
			d.clean()
		})
	}

	// a poststop hook that fails is a warning
	log := filepath.Join(dir, "log.json")
	d.must("create", "--bundle", bundle("poststop"), "web")
	recorded()
	r := d.try("--log", log, "--log-format", "json", "delete", "--force", "web")
	if want := "hybrid-runtime: warning: hook poststop " + script + ": exit status 7: it says no\n"; r.code != 0 || r.err != want {
		t.Errorf("%+v, want %q", r, want)
	}
	if hooks, _ := recorded(); !slices.Equal(hooks, three("poststop")) {
		t.Errorf("delete runs %q", hooks)
	}
	if b, err := os.ReadFile(log); err != nil || !strings.Contains(string(b), `{"level":"warning","msg":"hook poststop `) {
		t.Errorf("log %q, %v", b, err)
	}

	// those who are left by a create that is killed run when it is undone
	d.killedAt("renameat2", 1, []string{"create", "--bundle", bundle(""), "web"})
	d.monitorsGone()
	d.must("list")
	if hooks, _ := recorded(); !slices.Equal(hooks, three("prestart", "createRuntime", "createContainer", "poststop")) {
		t.Errorf("a create that is killed, and what comes after it, run %q", hooks)
	}
}

// Of two starts at once one runs the hooks, and the other one stops nothing.
func TestHooksOfTwoStarts(t *testing.T) {
	d := newDesk(t)
	dir := t.TempDir()
	first, end := filepath.Join(dir, "first"), filepath.Join(dir, "end")
	script := fmt.Sprintf("mkdir %s && until test -e %s; do sleep 0.01; done", first, end) // fails if it runs twice
	d.must("create", "--bundle", d.bundleWith(fmt.Sprintf(
		`"hooks": {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", %q], "env": ["PATH=/bin:/usr/bin"]}]}`, script)), "web")
	started := make(chan result)
	go func() { started <- d.try("start", "web") }()
	d.eventually("the hook runs", func() bool { _, err := os.Stat(first); return err == nil })
	d.refused("cannot start container web: another command is starting it", "start", "web")
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-started; r.code != 0 {
		t.Errorf("the first start: exit code %d, %s", r.code, r.err)
	}
	d.refused("cannot start container web: it is running", "start", "web")
	if s := d.state("web"); s.Status != "running" {
		t.Errorf("state %+v", s)
	}
	d.must("delete", "--force", "web")
}

// A service manager hears of a container whose firmware runs, and of its process.
func TestNotifySocket(t *testing.T) {
	d := newDesk(t)
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	d.w.env = append(d.w.env, "NOTIFY_SOCKET="+name)
	pid := d.run("web")
	if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := socket.Read(b)
	if want := fmt.Sprintf("READY=1\nMAINPID=%d", pid); err != nil || string(b[:n]) != want {
		t.Errorf("%q, %v, want %q", b[:n], err, want)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || strings.Contains(string(environ), "NOTIFY_SOCKET") {
		t.Errorf("the monitor's environment is %q, %v", environ, err)
	}
	d.must("delete", "--force", "web")
	socket.Close()
	d.must("create", "--firmware", d.fw, "web")
	if r := d.try("start", "web"); r.code != 0 || !strings.Contains(r.err, "warning: tell NOTIFY_SOCKET "+name+": connection refused") {
		t.Errorf("nobody listens: %+v", r)
	}
	d.must("delete", "--force", "web")
}

// Descriptors that are to be preserved are open as long as the container runs, and no
// others.
func TestPreserveFDs(t *testing.T) {
	d := newDesk(t)
	var files []*os.File
	for range 3 {
		f, err := os.CreateTemp(t.TempDir(), "fd")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	cmd := exec.Command("../../bin/hybrid-runtime", "create", "--preserve-fds", "2", "--bundle", d.bundle(""), "web")
	cmd.Env, cmd.ExtraFiles = d.w.env, files
	if err := cmd.Run(); err != nil { // without output that it could keep open
		t.Fatal(err)
	}
	pid := d.state("web").PID
	open := descriptors(t, pid)
	for i, f := range files {
		found := slices.Contains(sortedValues(open), f.Name())
		if want := i < 2; found != want {
			t.Errorf("descriptor %d is open: %v, want %v", i+3, found, want)
		}
	}
	d.must("delete", "--force", "web")
	d.end(pid)
	d.refused("descriptor 3 of --preserve-fds 1: bad file descriptor", "create", "--preserve-fds", "1", "--bundle", d.bundle(""), "web")
	most := strconv.Itoa(math.MaxInt)
	d.refused("descriptor 3 of --preserve-fds "+most+": bad file descriptor", "create", "--preserve-fds", most, "--bundle", d.bundle(""), "web")
}

func sortedValues(m map[int]string) []string {
	var s []string
	for _, v := range m {
		s = append(s, v)
	}
	slices.Sort(s)
	return s
}
