//go:build kernel

package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// A dump is kept, and the kernel left as it was: the attribute, and nothing that holds
// memory for five minutes.
func TestDump(t *testing.T) {
	d := newDesk(t)
	dumps := filepath.Join(t.TempDir(), "dumps")
	mode := func() string { t.Helper(); return d.attribute(0, "coredump") }
	before := mode()
	d.must("create", "--firmware", d.fw, "--coredump", dumps, "web")
	if got := mode(); got != "enabled" || before == got {
		t.Errorf("coredump is %q, and was %q", got, before)
	}
	pid := d.state("web").PID
	d.must("start", "web")
	d.cores[0].Crash(sysfs.Watchdog)
	d.end(pid)
	if got := mode(); got != before {
		t.Errorf("coredump is %q, and was %q", got, before)
	}
	kept, err := filepath.Glob(filepath.Join(dumps, "*"))
	if err != nil || len(kept) != 1 || !strings.HasSuffix(kept[0], "-web.core") {
		t.Fatalf("%q, %v: %s", kept, err, d.must("logs", "web"))
	}
	if b, err := os.ReadFile(kept[0]); err != nil || !strings.HasPrefix(string(b), "\x7fELF") || !strings.Contains(string(b), "code") {
		t.Errorf("a dump of %d bytes, %v", len(b), err)
	}
	left, err := filepath.Glob(filepath.Join(d.w.dir, "sys/class/devcoredump/devcd*"))
	if err != nil || len(left) != 0 {
		t.Errorf("the kernel keeps %q, %v", left, err)
	}
	d.must("delete", "web")
}

// For a dump the kernel starts the core once more, but a container that was stopped does
// not run again.
func TestStoppedForGood(t *testing.T) {
	d := newDesk(t)
	for range 3 {
		d.must("create", "--firmware", d.fw, "--coredump", t.TempDir(), "web")
		pid := d.state("web").PID
		d.must("start", "web")
		d.cores[0].Crash(sysfs.Watchdog)
		var said []string
		deadline := time.Now().Add(20 * time.Second)
		for ended := false; !ended; {
			if time.Now().After(deadline) {
				t.Fatalf("the monitor, process %d, does not end", pid)
			}
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			ended = err != nil || strings.Contains(string(stat), ") Z ")
			if now := d.state("web").Status; len(said) == 0 || said[len(said)-1] != now {
				said = append(said, now)
			}
		}
		d.end(pid)
		if s := strings.Join(said, " "); s != "stopped" && s != "running stopped" {
			t.Errorf("it was %s", s)
		}
		d.must("delete", "web")
	}
}
