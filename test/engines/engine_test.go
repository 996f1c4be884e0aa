//go:build engine

package engines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// shimRuntime is the name of our shim.
const shimRuntime = "io.containerd.hybrid.v1"

// ownNetwork is the file of the network that the tests are in.
const ownNetwork = "/proc/self/ns/net"

// engine is what people ask of an engine, in the words of Docker.
type engine interface {
	// load gets an image, from its archive or from the registry.
	load(t *testing.T, p picture)
	// run starts a container in the background.
	run(id, image string, o options) result
	// attached runs a container until it ends.
	attached(id, image string) result
	// hostNetwork is the file of the engine's own network.
	hostNetwork() string
	// pause tries to.
	pause(id string) result
	logs(t *testing.T, id string) string
	state(t *testing.T, id string) state
	// exec runs a program in a container, and returns its output.
	exec(t *testing.T, id string, args ...string) string
	// top are the processes of a container.
	top(t *testing.T, id string) string
	// memory is what statistics say that a container uses.
	memory(t *testing.T, id string) string
	stop(t *testing.T, id string)
	kill(t *testing.T, id string)
	// exits listens, and returns what waits for the engine to report the end of a
	// container, and says when it did.
	exits(t *testing.T, id string) func() time.Time
	// wait waits for the end of a container, and returns its exit code.
	wait(t *testing.T, id string) int
	start(t *testing.T, id string)
	remove(t *testing.T, id string)
	// removeForce removes one that runs.
	removeForce(t *testing.T, id string)
	// forget removes whatever a container has left, if there is one.
	forget(id string)
}

// options of run.
type options struct {
	restart     bool // on failure, for ever
	terminal    bool
	network     string   // none or host; empty is the engine's default
	annotations []string // of the container, KEY=VALUE
}

type state struct {
	running bool
	pid     int
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// client is the command of an engine.
type client struct {
	args []string // that stand before all others
	env  []string
}

func (c client) try(args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.args[0], append(c.args[1:len(c.args):len(c.args)], args...)...)
	cmd.Env = append(os.Environ(), c.env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second // a container with our output as its own keeps it open
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return result{exit.ExitCode(), out.String(), errOut.String()}
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return result{-1, out.String(), errOut.String() + err.Error()}
	}
	return result{0, out.String(), errOut.String()}
}

func (c client) must(t *testing.T, args ...string) string {
	t.Helper()
	r := c.try(args...)
	if r.code != 0 {
		t.Fatalf("%q: exit code %d: %s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// docker is the command line of Docker, and of podman.
type docker struct {
	client
	flags   []string // of run
	network string   // the default
	died    string   // its word for the end of a container
	netns   string   // its own network
}

func newDocker(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	return docker20.start(t, d, dir, runtime, "hybrid")
}

func newDocker29(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	return docker29.start(t, d, dir, runtime, "hybrid")
}

// newDocker29Shim is told no more than the name of our shim.
func newDocker29Shim(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	return docker29.start(t, d, dir, runtime, shimRuntime)
}

// dockerRelease is one of Docker's, with its own containerd and runc.
type dockerRelease struct {
	dockerd, docker string
	with            []string // folders of the programs that it finds
	config          map[string]any
}

// The releases of the tests, Debian's and a newer one. The newer runc is without
// seccomp.
var (
	docker20 = dockerRelease{"debian/usr/sbin/dockerd", "debian/usr/bin/docker", []string{"runc/usr/bin", "runc/usr/sbin"}, nil}
	docker29 = dockerRelease{"dockerd", "docker", []string{".", "newer"}, map[string]any{"seccomp-profile": "unconfined"}}
)

// daemon starts it. By its name our shim is found, too.
func (r dockerRelease) daemon(t *testing.T, d *fixture.Board, dir, runtime string, config map[string]any) *daemons.Daemon {
	all := map[string]any{"runtimes": map[string]any{"hybrid": map[string]any{"path": runtime}}}
	maps.Copy(all, r.config)
	maps.Copy(all, config)
	var with []string
	for _, folder := range append(r.with, "debian/usr/bin") {
		with = append(with, filepath.Join(daemons.Dir(t), folder))
	}
	with = append(with, filepath.Dir(runtime))
	return daemons.Docker(t, dir, r.dockerd, strings.Join(with, ":"), all, "HYBRID_SYSROOT="+d.Dir)
}

func (r dockerRelease) client(t *testing.T, d *daemons.Daemon, dir, name string) *docker {
	return &docker{
		client{args: []string{filepath.Join(daemons.Dir(t), r.docker), "--host", d.Address()}, env: []string{"DOCKER_CONFIG=" + dir + "/client"}},
		[]string{"--runtime", name},
		"", "die", fmt.Sprintf("/proc/%d/ns/net", d.PID()),
	}
}

func (r dockerRelease) start(t *testing.T, d *fixture.Board, dir, runtime, name string) engine {
	return r.client(t, r.daemon(t, d, dir, runtime, nil), dir, name)
}

// podman keeps its environment to itself, and forgets --runtime-flag when it cleans
// up: its runtime is a script that says where the board and runc are.
type podman struct{ docker }

func newPodman(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	script := filepath.Join(dir, "hybrid-runtime")
	runc := filepath.Join(daemons.Dir(t), "runc/usr/sbin/runc")
	text := fmt.Sprintf("#!/bin/sh\nexec %s --sysroot %s --runtime-delegate %s \"$@\"\n", runtime, d.Dir, runc)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	bin := daemons.Podman(t, dir, "")
	return &podman{docker{client{args: []string{bin + "/podman", "--runtime", script}}, nil, "none", "died", ownNetwork}}
}

// load pulls it.
func (e *podman) load(t *testing.T, p picture) {
	t.Helper()
	e.must(t, "pull", "--quiet", "--tls-verify=false", p.ref)
	e.must(t, "tag", p.ref, "docker.io/library/"+p.name)
}

func (e *docker) load(t *testing.T, p picture) {
	t.Helper()
	e.must(t, "load", "--input", p.archive)
}

// options of run.
func (e *docker) options(id string, o options) []string {
	args := append([]string{"run", "--name", id}, e.flags...)
	if o.network == "" {
		o.network = e.network
	}
	if o.network != "" {
		args = append(args, "--network", o.network)
	}
	if o.restart {
		args = append(args, "--restart", "on-failure")
	}
	if o.terminal {
		args = append(args, "--tty")
	}
	for _, a := range o.annotations {
		args = append(args, "--annotation", a)
	}
	return args
}

func (e *docker) run(id, image string, o options) result {
	return e.try(append(e.options(id, o), "--detach", image)...)
}

func (e *docker) attached(id, image string) result {
	return e.try(append(e.options(id, options{}), image)...)
}

func (e *docker) exits(t *testing.T, id string) func() time.Time {
	t.Helper()
	since := time.Now()
	return func() (at time.Time) {
		t.Helper()
		fixture.Eventually(t, func() error {
			said := e.must(t, "events", "--since", fmt.Sprint(since.Unix()), "--until", fmt.Sprint(time.Now().Unix()+1),
				"--filter", "container="+id, "--filter", "event="+e.died, "--format", "{{json .}}")
			var event struct {
				TimeNano int64 `json:"timeNano"`
				Time     any
			}
			d := json.NewDecoder(strings.NewReader(said))
			if err := d.Decode(&event); err != nil {
				return fmt.Errorf("events: %q, %w", said, err)
			}
			at = time.Unix(0, event.TimeNano)
			if event.TimeNano == 0 { // podman's
				var err error
				if at, err = time.Parse(time.RFC3339Nano, fmt.Sprint(event.Time)); err != nil {
					return err
				}
			}
			if at.Before(since) {
				return fmt.Errorf("events: %q, of before %v", said, since)
			}
			return nil
		})
		return at
	}
}

func (e *docker) hostNetwork() string { return e.netns }

func (e *docker) pause(id string) result { return e.try("pause", id) }

func (e *docker) logs(t *testing.T, id string) string {
	t.Helper()
	r := e.try("logs", id)
	if r.code != 0 {
		t.Fatalf("logs: %+v", r)
	}
	return r.out + r.err
}

func (e *docker) state(t *testing.T, id string) state {
	t.Helper()
	var all []struct {
		State struct {
			Running bool
			Status  string
			Pid     int
		}
	}
	if err := json.Unmarshal([]byte(e.must(t, "inspect", "--type", "container", id)), &all); err != nil || len(all) != 1 {
		t.Fatalf("inspect: %+v, %v", all, err)
	}
	s := all[0].State
	listed := strings.Contains(e.must(t, "ps", "--format", "{{.Names}} {{.Status}}"), id+" Up")
	return state{s.Running && s.Status == "running" && listed, s.Pid}
}

func (e *docker) exec(t *testing.T, id string, args ...string) string {
	t.Helper()
	return e.must(t, append([]string{"exec", id}, args...)...)
}

func (e *docker) top(t *testing.T, id string) string { t.Helper(); return e.must(t, "top", id) }

func (e *docker) memory(t *testing.T, id string) string {
	t.Helper()
	return strings.TrimSpace(e.must(t, "stats", "--no-stream", "--format", "{{.MemUsage}}", id))
}

func (e *docker) stop(t *testing.T, id string)   { t.Helper(); e.must(t, "stop", id) }
func (e *docker) kill(t *testing.T, id string)   { t.Helper(); e.must(t, "kill", id) }
func (e *docker) start(t *testing.T, id string)  { t.Helper(); e.must(t, "start", id) }
func (e *docker) remove(t *testing.T, id string) { t.Helper(); e.must(t, "rm", id) }
func (e *docker) removeForce(t *testing.T, id string) {
	t.Helper()
	e.must(t, "rm", "--force", id)
}

func (e *docker) forget(id string) { e.try("rm", "--force", id) }

func (e *docker) wait(t *testing.T, id string) int {
	t.Helper()
	code, err := strconv.Atoi(strings.TrimSpace(e.must(t, "wait", id)))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// ctr is containerd's own command line.
type ctr struct {
	client
	dir   string
	flags []string // of run: the runtime
	pulls bool     // images, instead of importing them
}

// release is one of containerd's.
type release struct {
	from   string // its folder among the engines
	config int    // the version of its configuration
	pulls  bool
}

// The releases of the tests: Debian's, which is 1.6, the last before 2.0, and one after.
var (
	debian = release{"runc/usr/bin", 2, false}
	middle = release{"1.7", 2, false}
	newer  = release{".", 3, true}
)

// releases by name.
var releases = map[string]release{"containerd": debian, "containerd 1.7": middle, "containerd 2": newer}

func newContainerd(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	return debian.start(t, d, dir, filepath.Dir(runtime), stock(dir, runtime)...)
}

// newContainerd2 is the newer containerd, with its own shim.
func newContainerd2(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	return newer.start(t, d, dir, filepath.Dir(runtime), stock(dir, runtime)...)
}

// newContainerdShim is containerd with our shim.
func newContainerdShim(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	return debian.start(t, d, dir, filepath.Dir(runtime), "--runtime", shimRuntime)
}

func newContainerd17Shim(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	return middle.start(t, d, dir, filepath.Dir(runtime), "--runtime", shimRuntime)
}

func newContainerd2Shim(t *testing.T, d *fixture.Board, dir, runtime string) engine {
	return newer.start(t, d, dir, filepath.Dir(runtime), "--runtime", shimRuntime)
}

// stock are the flags that make the stock shim run our binary.
func stock(dir, runtime string) []string {
	return []string{"--runtime", "io.containerd.runc.v2", "--runc-binary", runtime, "--runc-root", filepath.Join(dir, "runc")}
}

// start starts containerd, which finds our binaries in bin.
func (r release) start(t *testing.T, d *fixture.Board, dir, bin string, flags ...string) *ctr {
	return r.client(t, r.daemon(t, d, dir, bin), dir, flags...)
}

func (r release) client(t *testing.T, d *daemons.Daemon, dir string, flags ...string) *ctr {
	return &ctr{client{args: []string{filepath.Join(daemons.Dir(t), r.from, "ctr"), "--address", d.Socket}}, dir, flags, r.pulls}
}

func (r release) daemon(t *testing.T, d *fixture.Board, dir, bin string) *daemons.Daemon {
	engines := daemons.Dir(t)
	return daemons.Containerd(t, dir, r.from+"/containerd", r.config, "[plugins.\"io.containerd.internal.v1.restart\"]\n  interval = \"1s\"\n",
		"PATH="+filepath.Join(engines, r.from)+":"+engines+"/runc/usr/sbin:"+bin+":"+os.Getenv("PATH"), "HYBRID_SYSROOT="+d.Dir)
}

func (e *ctr) log(id string) string { return filepath.Join(e.dir, id+".log") }

// load imports the image, or pulls it.
func (e *ctr) load(t *testing.T, p picture) {
	t.Helper()
	if e.pulls {
		e.must(t, "images", "pull", "--plain-http", "--snapshotter", "native", "--local", p.ref)
		e.must(t, "images", "tag", p.ref, "docker.io/library/"+p.name)
		return
	}
	e.must(t, "images", "import", "--snapshotter", "native", p.archive)
}

// options of ctr for a container.
func (e *ctr) options(id string, o options) []string {
	args := append([]string{"run", "--snapshotter", "native", "--cgroup", "/" + idPrefix + "ctr/" + id}, e.flags...)
	if o.network == "host" {
		args = append(args, "--net-host")
	}
	for _, a := range o.annotations {
		args = append(args, "--annotation", a)
	}
	return args
}

// exits listens to the events: nobody asks for them later.
func (e *ctr) exits(t *testing.T, id string) func() time.Time {
	t.Helper()
	cmd := exec.Command(e.args[0], append(e.args[1:len(e.args):len(e.args)], "events")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	// it listens once it has heard of what happens after it began to
	label := 0
	heard := make(chan bool)
	at := make(chan time.Time, 1)
	go func() {
		defer close(at)
		for first := true; lines.Scan(); {
			f := strings.Fields(lines.Text()) // date, time, zone, its name, namespace, topic, event
			if first {
				first = false
				close(heard)
			}
			if len(f) > 6 && f[5] == "/tasks/exit" && strings.Contains(lines.Text(), `"container_id":"`+id+`"`) {
				if when, err := time.Parse("2006-01-02 15:04:05.999999999 -0700", strings.Join(f[:3], " ")); err == nil {
					at <- when
					return
				}
			}
		}
	}()
	fixture.Eventually(t, func() error {
		label++
		e.must(t, "containers", "label", id, fmt.Sprint("hybrid.test=", label))
		select {
		case <-heard:
			return nil
		default:
			return errors.New("no events")
		}
	})
	return func() time.Time {
		t.Helper()
		select {
		case when := <-at:
			return when
		case <-time.After(10 * time.Second):
			t.Fatal("no event of the exit")
		}
		return time.Time{}
	}
}

func (e *ctr) attached(id, image string) result {
	return e.try(append(e.options(id, options{}), "--fifo-dir", filepath.Join(e.dir, "fifo"), "docker.io/library/"+image, id)...)
}

func (e *ctr) hostNetwork() string { return ownNetwork }

func (e *ctr) pause(id string) result { return e.try("tasks", "pause", id) }

func (e *ctr) run(id, image string, o options) result {
	args := append(e.options(id, o), "--detach", "--log-uri", "file://"+e.log(id))
	if o.terminal {
		// it wants to be on a terminal itself
		args = append(e.options(id, o), "--tty", "--fifo-dir", filepath.Join(e.dir, "fifo"))
		return e.onTerminal(e.log(id), append(args, "docker.io/library/"+image, id))
	}
	r := e.try(append(args, "docker.io/library/"+image, id)...)
	switch {
	case r.code != 0:
		e.try("containers", "rm", id) // what ctr leaves
	case o.restart:
		// not before it runs: containerd would find that it does not, and start it at the same time
		return e.try("containers", "label", id, "containerd.io/restart.status=running", "containerd.io/restart.loguri=file://"+e.log(id))
	}
	return r
}

// onTerminal starts the client on a terminal of its own, whose output goes into a file.
func (e *ctr) onTerminal(file string, args []string) result {
	fail := func(err error) result { return result{-1, "", err.Error()} }
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return fail(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return fail(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fail(err)
	}
	defer slave.Close()
	log, err := os.Create(file)
	if err != nil {
		return fail(err)
	}
	cmd := exec.Command(e.args[0], append(e.args[1:len(e.args):len(e.args)], args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	go func() {
		_, _ = io.Copy(log, master) // it ends with the client
		_ = cmd.Wait()
		_ = log.Close()
		_ = master.Close()
	}()
	return result{}
}

func (e *ctr) logs(t *testing.T, id string) string {
	t.Helper()
	b, err := os.ReadFile(e.log(id))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// task is the line of a task, nil if there is none.
func (e *ctr) task(t *testing.T, id string) []string {
	t.Helper()
	for line := range strings.Lines(e.must(t, "tasks", "ls")) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == id {
			return f
		}
	}
	return nil
}

func (e *ctr) state(t *testing.T, id string) state {
	t.Helper()
	f := e.task(t, id)
	if f == nil {
		return state{}
	}
	pid, err := strconv.Atoi(f[1])
	if err != nil {
		t.Fatal(err)
	}
	return state{f[2] == "RUNNING", pid}
}

func (e *ctr) exec(t *testing.T, id string, args ...string) string {
	t.Helper()
	return e.must(t, append([]string{"tasks", "exec", "--exec-id", "exec", "--fifo-dir", filepath.Join(e.dir, "fifo"), id}, args...)...)
}

func (e *ctr) top(t *testing.T, id string) string { t.Helper(); return e.must(t, "tasks", "ps", id) }

func (e *ctr) memory(t *testing.T, id string) string {
	t.Helper()
	for line := range strings.Lines(e.must(t, "tasks", "metrics", id)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "memory.usage_in_bytes" {
			return f[1]
		}
	}
	return ""
}

func (e *ctr) stop(t *testing.T, id string) {
	t.Helper()
	e.must(t, "tasks", "kill", "--signal", "SIGTERM", id)
}

func (e *ctr) kill(t *testing.T, id string) {
	t.Helper()
	e.must(t, "tasks", "kill", "--signal", "SIGKILL", id)
}

func (e *ctr) wait(t *testing.T, id string) int {
	t.Helper()
	fixture.Eventually(t, func() error {
		if f := e.task(t, id); f == nil || f[2] != "STOPPED" {
			return fmt.Errorf("task %q", f)
		}
		return nil
	})
	r := e.try("tasks", "delete", id)
	_, code, warned := strings.Cut(r.err, "non-zero exit code ")
	if !warned {
		return r.code
	}
	n, err := strconv.Atoi(strings.TrimRight(code, "\"\n"))
	if err != nil {
		t.Fatalf("tasks delete: %+v", r)
	}
	return n
}

func (e *ctr) start(t *testing.T, id string) {
	t.Helper()
	e.must(t, "tasks", "start", "--detach", "--log-uri", "file://"+e.log(id), id)
}

func (e *ctr) remove(t *testing.T, id string) { t.Helper(); e.must(t, "containers", "rm", id) }

func (e *ctr) removeForce(t *testing.T, id string) {
	t.Helper()
	e.must(t, "tasks", "delete", "--force", id)
	e.remove(t, id)
}

func (e *ctr) forget(id string) {
	e.try("tasks", "delete", "--force", id)
	e.try("containers", "rm", id)
}
