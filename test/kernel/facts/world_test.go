//go:build kernel

package facts

import (
	"fmt"
	"os"
	"testing"
)

// worlds opens the world of this name. Each gives a new one for every fact, or the
// same one reset, and a function that ends the fact's use of it.
var worlds = map[string]func(t *testing.T) *world{"kernel": kernelWorld}

// TestFacts runs the list in the world FACTS_WORLD: sim, if it is not set.
func TestFacts(t *testing.T) {
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
		t.Run(f.name, func(t *testing.T) { steps(t, open(t), f.steps...) })
	}
}

// kernelWorld is the machine that the test runs on.
func kernelWorld(t *testing.T) *world {
	w := &world{root: "/", elfs: os.Getenv("FACTS_FIRMWARE")}
	if w.elfs == "" {
		t.Fatal("FACTS_FIRMWARE does not say where hello_world.elf is")
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
