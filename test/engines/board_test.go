//go:build engine

package engines

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// greeting is what the firmware prints first.
const greeting = "Hello World from qemu-virt (cortex-m4)"

// desk is a simulated board with one processor.
type desk struct {
	dir    string // stands for /
	server *sysfs.Server
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	b, err := board.Lookup("qemu-virt")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{dir: t.TempDir()}
	d.server, err = sysfs.Mount(d.dir, sysfs.Config{
		Compatible: []string{"hybrid,qemu-virt", "linux,dummy-virt"},
		Model:      "hybrid virtual board",
		Processors: []sysfs.Processor{{Name: "m4", NodeName: "m4", Compatible: []string{"st,stm32mp1-m4"}, Memory: b.Cores[0].Memory}},
		Greeting:   greeting,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *desk) state() string {
	b, err := os.ReadFile(filepath.Join(d.dir, "sys/class/remoteproc/remoteproc0/state"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

func (d *desk) crash() { d.server.Core(0).Crash(sysfs.Watchdog) }

// wantIdle wants the board to be as it was before any container: the processor
// offline, no file, no monitor.
func (d *desk) wantIdle(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		if state := d.state(); state != "offline" {
			return fmt.Errorf("the processor is %s", state)
		}
		for _, dir := range []string{"run/hybrid/processors", "run/hybrid/containers", "lib/firmware"} {
			entries, err := os.ReadDir(filepath.Join(d.dir, dir))
			if err != nil && !os.IsNotExist(err) {
				return err
			}
			for _, e := range entries {
				if filepath.Ext(e.Name()) != ".lock" {
					return fmt.Errorf("%s/%s is left", dir, e.Name())
				}
			}
		}
		for pid, line := range processes(t) {
			if strings.HasPrefix(line, "hybrid-monitor "+idPrefix) {
				return fmt.Errorf("process %d is left: %s", pid, line)
			}
		}
		return nil
	})
}

// processes are the command lines of all processes, words separated by spaces.
func processes(t *testing.T) map[int]string {
	t.Helper()
	found := map[int]string{}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var pid int
		if _, err := fmt.Sscanf(f, "/proc/%d/", &pid); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(f); err == nil { // else it ended
			found[pid] = strings.TrimRight(strings.ReplaceAll(string(b), "\x00", " "), " ")
		}
	}
	return found
}

// eventually wants f to have no error within some seconds.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	err := f()
	for deadline := time.Now().Add(15 * time.Second); err != nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err = f()
	}
	if err != nil {
		t.Fatal(err)
	}
}
