//go:build kernel

package facts

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// worlds opens the world of this name, offline or with firmware that a boot loader
// started. Each gives a new one for every fact, or the same one reset.
var worlds = map[string]func(t *testing.T, booted bool) *world{"kernel": kernelWorld}

// TestFacts runs the list in the world FACTS_WORLD: sim, if it is not set.
func TestFacts(t *testing.T) { run(t, list, false) }

// TestBooted runs the list of what is so for cores that a boot loader started.
func TestBooted(t *testing.T) { run(t, bootedList, true) }

func run(t *testing.T, list []fact, booted bool) {
	name := os.Getenv("FACTS_WORLD")
	if name == "" {
		name = "sim"
	}
	open, ok := worlds[name]
	if !ok {
		t.Fatalf("FACTS_WORLD=%s: no such world here", name)
	}
	seen := map[string]bool{}
	for _, f := range list {
		if seen[f.name] {
			t.Fatalf("two facts are called %q", f.name)
		}
		seen[f.name] = true
		t.Run(f.name, func(t *testing.T) { steps(t, open(t, booted), f.steps...) })
	}
}

// kernelWorld is the machine that the test runs on. What a boot loader has started is
// so already, or is not.
func kernelWorld(t *testing.T, _ bool) *world {
	w := &world{root: "/", elfs: os.Getenv("FACTS_FIRMWARE")}
	if w.elfs == "" {
		t.Fatal("FACTS_FIRMWARE does not say where hello_world.elf is")
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &w.linux[0], &w.linux[1]); err != nil {
		t.Fatal(err)
	}
	if err := w.reset(); err != nil {
		t.Fatal(fmt.Errorf("the processor cannot be reset: %w", err))
	}
	t.Cleanup(func() {
		if err := w.tidy(); err != nil {
			t.Errorf("after the fact: %v", err)
		}
	})
	return w
}
