//go:build engine

package engines

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// idPrefix tells the containers of these tests from others.
const idPrefix = fixture.Prefix

// Images of the tests.
const (
	imageHello = "hello:1" // hello_world for the board
	imageOther = "other:1" // hello_world for another one
	imageLinux = "linux:1" // for Linux
)

// place is where a behaviour is shown.
type place struct {
	engine
	d    *fixture.Board
	id   string       // of the container
	kind              // of engine
	note func(string) // adds to the line in the table
}

// kind is what engines differ in.
type kind struct {
	bridge    bool // it gives containers a network device
	annotates bool // its users may give annotations
}

// behaviours are what is wanted of each engine.
var behaviours = []struct {
	name string
	show func(t *testing.T, p place)
}{
	{"run, inspect, logs", func(t *testing.T, p place) {
		p.up(t)
		p.removeForce(t, p.id)
	}},
	{"a network of its own", func(t *testing.T, p place) { p.network(t, "", p.bridge) }},
	{"no network", func(t *testing.T, p place) { p.network(t, "none", false) }},
	{"the host's network", func(t *testing.T, p place) { p.network(t, "host", false) }},
	{"an annotation", func(t *testing.T, p place) {
		says := "unknown flag: --annotation"
		if p.annotates {
			says = "remoteproc7"
		}
		p.refused(t, imageHello, options{annotations: []string{"remoteproc.name=remoteproc7"}}, says)
	}},
	{"stop is exit code 0, at once", func(t *testing.T, p place) {
		p.up(t)
		began := time.Now()
		p.stop(t, p.id)
		p.ends(t, 0)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		p.remove(t, p.id)
	}},
	{"kill is exit code 137", func(t *testing.T, p place) {
		p.up(t)
		p.kill(t, p.id)
		p.ends(t, 137)
		p.remove(t, p.id)
	}},
	{"crash is exit code 139", func(t *testing.T, p place) { p.crash(t, options{}) }},
	{"crash without a network", func(t *testing.T, p place) { p.crash(t, options{network: "none"}) }},
	{"run in the foreground", func(t *testing.T, p place) {
		ended := make(chan result)
		go func() { ended <- p.attached(p.id, imageHello) }()
		fixture.Eventually(t, func() error {
			if state := p.d.State(); state != "running" {
				return fmt.Errorf("the processor is %s", state)
			}
			return nil
		})
		if err := p.d.Server.Core(0).Trace("more\n"); err != nil {
			t.Error(err)
		}
		p.d.Crash()
		if r := <-ended; r.code != 139 || r.out != fixture.Greeting+"\nmore\n" || !strings.Contains(r.err, "hybrid: the firmware crashed") {
			t.Errorf("%+v", r)
		}
		p.forget(p.id)
	}},
	{"run on a terminal", func(t *testing.T, p place) {
		p.upWith(t, options{terminal: true})
		p.stop(t, p.id)
		fixture.Eventually(t, func() error {
			if s := p.state(t, p.id); s.running {
				return fmt.Errorf("the engine says %+v", s)
			}
			return nil
		})
		p.forget(p.id)
	}},
	{"pause is refused", func(t *testing.T, p place) {
		p.up(t)
		if r := p.pause(p.id); r.code == 0 || !strings.Contains(r.err, "pause is not possible: ") {
			t.Errorf("%+v", r)
		}
		p.runs(t, 0)
		p.removeForce(t, p.id)
	}},
	{"start after stop", func(t *testing.T, p place) {
		p.up(t)
		p.stop(t, p.id)
		p.ends(t, 0)
		p.start(t, p.id)
		p.runs(t, 0)
		p.stop(t, p.id)
		p.ends(t, 0)
		p.remove(t, p.id)
	}},
	{"restart after a crash", func(t *testing.T, p place) {
		before := p.upWith(t, options{restart: true})
		p.d.Crash()
		p.runs(t, before)
		p.removeForce(t, p.id)
	}},
	{"rm of a running one", func(t *testing.T, p place) {
		p.up(t)
		p.removeForce(t, p.id)
	}},
	{"top", func(t *testing.T, p place) {
		pid := p.up(t)
		if top := p.top(t, p.id); !strings.Contains(top, fmt.Sprint(pid)) {
			t.Errorf("top: %s, want process %d", top, pid)
		}
		p.removeForce(t, p.id)
	}},
	{"statistics", func(t *testing.T, p place) {
		p.up(t)
		fixture.Eventually(t, func() error {
			if used := p.memory(t, p.id); !strings.ContainsAny(used, "123456789") {
				return fmt.Errorf("the engine says that it uses %q of memory", used)
			}
			return nil
		})
		p.removeForce(t, p.id)
	}},
	{"a busy processor is refused", func(t *testing.T, p place) {
		p.up(t)
		second := p
		second.id += "-second"
		second.refused(t, imageHello, options{}, "remote processor remoteproc0 (m4) is busy: container ")
		p.runs(t, 0)
		p.removeForce(t, p.id)
	}},
	{"a Linux container beside", func(t *testing.T, p place) {
		p.up(t)
		linux := p
		linux.id += "-linux"
		t.Cleanup(func() { p.forget(linux.id) })
		if r := p.engine.run(linux.id, imageLinux, options{}); r.code != 0 {
			t.Fatalf("run: %+v", r)
		}
		var s state
		fixture.Eventually(t, func() error {
			s = p.state(t, linux.id)
			if line := fixture.Processes(t)[s.pid]; !s.running || line != "/bin/busybox sleep 1000" {
				return fmt.Errorf("the engine says %+v, which is %q", s, line)
			}
			return nil
		})
		if said := p.exec(t, linux.id, "/bin/busybox", "echo", "it answers"); strings.TrimSpace(said) != "it answers" {
			t.Errorf("exec: %q", said)
		}
		p.runs(t, 0)
		reported := p.exits(t, linux.id) // beside that of firmware
		began := time.Now()
		if err := unix.Kill(s.pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t, linux.id); code != 137 {
			t.Errorf("exit code %d of the Linux container", code)
		}
		p.note(fmt.Sprintf("its end reported after %d ms", reported().Sub(began).Milliseconds()))
		p.remove(t, linux.id)
		p.removeForce(t, p.id)
	}},
	{"another board is refused", func(t *testing.T, p place) {
		p.refused(t, imageOther, options{}, "board imx8m-mini wanted, this is qemu-virt")
	}},
}

// network wants the monitor to be in the engine's own network, for host, or in
// another, with a device or without.
func (p place) network(t *testing.T, network string, device bool) {
	t.Helper()
	pid := p.upWith(t, options{network: network})
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	if engines, err := os.Readlink(p.hostNetwork()); err != nil || (its == engines) != (network == "host") {
		t.Errorf("network %s, %v, the engine's is %s", its, err, engines)
	}
	if devices, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid)); network != "host" && (err != nil || strings.Contains(string(devices), " eth0:") != device) {
		t.Errorf("%v: devices\n%s\nwant one on the engine's bridge: %v", err, devices, device)
	}
	p.removeForce(t, p.id)
}

// up runs the firmware, and returns its process.
func (p place) up(t *testing.T) int { t.Helper(); return p.upWith(t, options{}) }

func (p place) upWith(t *testing.T, o options) int {
	t.Helper()
	if r := p.run(p.id, imageHello, o); r.code != 0 {
		t.Fatalf("run: %+v", r)
	}
	return p.runs(t, 0)
}

// runs wants the container to run with another process than before, which is the
// monitor, and returns it.
func (p place) runs(t *testing.T, before int) (pid int) {
	t.Helper()
	fixture.Eventually(t, func() error {
		s := p.state(t, p.id)
		pid = s.pid
		switch line := fixture.Processes(t)[pid]; {
		case !s.running || pid == before:
			return fmt.Errorf("the engine says %+v", s)
		case !strings.HasPrefix(line, "hybrid-monitor "):
			return fmt.Errorf("process %d is %q", pid, line)
		case p.d.State() != "running":
			return fmt.Errorf("the processor is %s", p.d.State())
		}
		if log := p.logs(t, p.id); !strings.Contains(log, fixture.Greeting) {
			return fmt.Errorf("log %q", log)
		}
		return nil
	})
	return pid
}

// crash wants a crash to be reported as exit code 139, and notes how soon.
func (p place) crash(t *testing.T, o options) {
	t.Helper()
	p.upWith(t, o)
	reported := p.exits(t, p.id)
	began := time.Now()
	p.d.Crash()
	p.ends(t, 139)
	p.note(fmt.Sprintf("reported after %d ms", reported().Sub(began).Milliseconds()))
	if log := p.logs(t, p.id); !strings.Contains(log, "hybrid: the firmware crashed") {
		t.Errorf("log %q", log)
	}
	p.remove(t, p.id)
}

// ends wants the container to end with this exit code.
func (p place) ends(t *testing.T, code int) {
	t.Helper()
	if got := p.wait(t, p.id); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	if s := p.state(t, p.id); s.running {
		t.Errorf("the engine says %+v", s)
	}
	if state := p.d.State(); state != "offline" {
		t.Errorf("the processor is %s", state)
	}
}

// refused wants a run to fail with these words on the terminal.
func (p place) refused(t *testing.T, image string, o options, says string) {
	t.Helper()
	r := p.run(p.id, image, o)
	if r.code == 0 || !strings.Contains(r.err, says) {
		t.Errorf("run: %+v, want %q", r, says)
	}
	t.Logf("exit code %d: %s", r.code, strings.TrimSpace(r.err))
	p.forget(p.id)
}

func TestEngines(t *testing.T) {
	bin, images := built(t), images(t)
	took := map[string]map[string]string{}
	engines := []struct {
		name  string
		start func(t *testing.T, d *fixture.Board, dir, runtime string) engine
		kind
	}{
		{"containerd", newContainerd, kind{annotates: true}},
		{"containerd (shim)", newContainerdShim, kind{annotates: true}},
		{"containerd 1.7 (shim)", newContainerd17Shim, kind{annotates: true}},
		{"containerd 2", newContainerd2, kind{annotates: true}},
		{"containerd 2 (shim)", newContainerd2Shim, kind{annotates: true}},
		{"Docker", newDocker, kind{bridge: true}},
		{"Docker 29", newDocker29, kind{bridge: true, annotates: true}},
		{"Docker 29 (shim)", newDocker29Shim, kind{bridge: true, annotates: true}},
		{"podman", newPodman, kind{annotates: true}},
	}
	for _, e := range engines {
		took[e.name] = map[string]string{}
		t.Run(e.name, func(t *testing.T) {
			d, dir := ground(t)
			running := e.start(t, d, dir, bin)
			for _, i := range images {
				running.load(t, i)
			}
			for n, b := range behaviours {
				ok := t.Run(b.name, func(t *testing.T) {
					var notes string
					p := place{running, d, fmt.Sprint(idPrefix, n), e.kind, func(note string) { notes += ", " + note }}
					t.Cleanup(func() { p.forget(p.id) })
					began := time.Now()
					b.show(t, p)
					d.WantIdle(t)
					took[e.name][b.name] = fmt.Sprintf("%d ms%s", time.Since(began).Milliseconds(), notes)
				})
				if !ok {
					took[e.name][b.name] = "FAILED"
				}
			}
		})
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "behaviour")
	for _, e := range engines {
		fmt.Fprint(w, "\t", e.name)
	}
	for _, b := range behaviours {
		fmt.Fprint(w, "\n", b.name)
		for _, e := range engines {
			fmt.Fprint(w, "\t", took[e.name][b.name])
		}
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &table)
}

// ground is a board, and a folder for an engine. After the engine has ended the machine
// must be as it was.
func ground(t *testing.T) (d *fixture.Board, dir string) {
	t.Helper()
	d = fixture.NewBoard(t)
	before := fixture.Machine(t)
	dir = t.TempDir()
	t.Cleanup(func() {
		daemons.WantNothingLeft(t, dir)
		fixture.WantMachine(t, before)
	})
	return d, dir
}

// built is the runtime's binary, that has the shim beside it.
func built(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs("../../bin/hybrid-runtime")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bin, filepath.Join(filepath.Dir(bin), "containerd-shim-hybrid-v1")} {
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("%v (make build)", err)
		}
	}
	return bin
}
