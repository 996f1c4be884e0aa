//go:build kernel && !arm

package facts

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// The library below the simulation does not build for 32-bit Arm, which is what the
// virtual board is. There the list needs no simulation.

func init() {
	worlds["sim"] = func(t *testing.T, booted bool) *world {
		return simWorld(t, func(c *sysfs.Config) {
			if booted {
				c.Processors[0].Attached, c.Processors[0].Booted = true, bootedFirmware
			}
		})
	}
}

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// runAll builds the real firmware, unless FACTS_FIRMWARE says where it is.
func runAll(m *testing.M) (int, error) {
	if os.Getenv("FACTS_FIRMWARE") == "" {
		dir, err := os.MkdirTemp("", "facts-firmware-")
		if err != nil {
			return 1, err
		}
		defer os.RemoveAll(dir)
		for _, source := range []string{"examples/hello_world", "test/kernel/firmware", "test/kernel/firmware/rpmsg"} {
			out, err := exec.Command("make", "-s", "-C", "../../../"+source, "BOARD=qemu-virt", "O="+dir).CombinedOutput()
			if err != nil {
				return 1, fmt.Errorf("build %s: %w\n%s", source, err, out)
			}
		}
		if err := os.Setenv("FACTS_FIRMWARE", dir); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// simWorld is a simulation of the virtual board, changed and mounted for one fact.
func simWorld(t *testing.T, change func(*sysfs.Config)) *world {
	dir := t.TempDir()
	config := sysfs.Config{
		Compatible: []string{"hybrid,qemu-virt", "linux,dummy-virt"},
		Model:      "hybrid virtual board",
		Processors: []sysfs.Processor{{
			Name: "m4", NodeName: "m4", Compatible: []string{"st,stm32mp1-m4"},
			Memory: []board.Region{
				{Name: "mcuram", Start: memory, Size: memorySize},
				{Name: "vdev0vring0", Start: 0x60100000, Size: 0x4000},
				{Name: "vdev0vring1", Start: 0x60104000, Size: 0x4000},
				{Name: "vdev0buffer", Start: 0x60110000, Size: 0x40000},
			},
		}},
	}
	change(&config)
	server, err := sysfs.Mount(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	linux := [2]int{6, 1}
	if config.TrimSearchPath {
		linux[1] = 12
	}
	return &world{root: dir, elfs: os.Getenv("FACTS_FIRMWARE"), linux: linux}
}

// TestNewerKernel runs the list on the simulation of a newer kernel, which stops crashed
// cores, too.
func TestNewerKernel(t *testing.T) {
	for _, f := range list {
		t.Run(f.name, func(t *testing.T) {
			steps(t, simWorld(t, func(c *sysfs.Config) { c.StopCrashed, c.TrimSearchPath = true, true }), f.steps...)
		})
	}
}

// TestRunning runs the list of what firmware does on the simulation that executes it.
func TestRunning(t *testing.T) {
	for _, f := range runningList {
		t.Run(f.name, func(t *testing.T) { steps(t, simWorld(t, func(c *sysfs.Config) { c.Run = true }), f.steps...) })
	}
}
