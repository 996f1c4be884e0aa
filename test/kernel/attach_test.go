//go:build kernel

package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// newBootedDesk is a desk whose cores were started by a boot loader.
func newBootedDesk(t *testing.T) *desk {
	t.Helper()
	d := newDeskWith(t, func(c *sysfs.Config) {
		for i := range c.Processors {
			c.Processors[i].Attached, c.Processors[i].AttachedTrace = true, 4096
		}
	})
	d.booted = true
	return d
}

// What the boot loader started is not anybody's to stop, unless he says so.
func TestAttach(t *testing.T) {
	d := newBootedDesk(t)
	d.refused("is busy: the boot loader started it (hybrid-runtime create --attach takes it over)", "create", "-f", d.fw, "web")

	for _, c := range []struct {
		name, processor string
		args            []string
		end             func(pid int)
		code            int
		state           string
	}{
		{"detached in the end", "remoteproc0", nil, func(int) { d.must("kill", "web") }, 0, "detached"},
		{"detached when killed", "remoteproc0", nil, func(int) { d.must("kill", "web", "KILL") }, 137, "detached"},
		{"detached by the next", "remoteproc0", nil, func(pid int) { _ = unix.Kill(pid, unix.SIGKILL) }, 137, "detached"},
		{"the target is looked at", "remoteproc0", []string{"-b", d.bundle("")}, func(int) { d.must("kill", "web") }, 0, "detached"},
		{
			"an annotation asks for it", "remoteproc0",
			[]string{"-b", d.bundle(`"hybrid.attach": "true", "hybrid.on-stop": "detach"`)},
			func(int) { d.must("kill", "web") }, 0, "detached",
		},
		{"stopped in the end", "remoteproc0", []string{"--on-stop", "stop"}, func(int) { d.must("kill", "web") }, 0, "offline"},
		// one that crashed is not left as it is
		{"a crash", "remoteproc1", nil, func(int) { d.cores[1].Crash(sysfs.Watchdog) }, 139, "offline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			core := int(c.processor[len(c.processor)-1] - '0')
			d.must(append(append([]string{"create", "--attach", "-p", c.processor}, c.args...), "web")...)
			if s := d.state("web"); s.Status != "created" || d.attribute(core, "state") != "detached" {
				t.Errorf("%+v", s)
			}
			pid := d.state("web").PID
			d.must("start", "web")
			if s := d.state("web"); s.Status != "running" || s.Annotations["hybrid.processor.state"] != "attached" {
				t.Errorf("%+v", s)
			}
			if err := d.cores[core].Trace("said after it was attached to\n"); err != nil {
				t.Fatal(err)
			}
			d.eventually("its output", func() bool { return d.must("logs", "web") != "" })
			c.end(pid)
			if code := d.end(pid); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			d.must("delete", "web")
			if state := d.attribute(core, "state"); state != c.state {
				t.Errorf("the processor is %s, want %s", state, c.state)
			}
		})
	}
	d.refused("is offline: there is nothing to attach to, as the boot loader did not start it", "create", "--attach", "-p", "remoteproc0", "web")
	d.refusedWith(2, `--on-stop: "burn": want detach or stop`, "create", "--attach", "--on-stop", "burn", "web")
}
