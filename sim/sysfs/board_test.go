package sysfs

import (
	"slices"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
)

// TestOf makes every board of the catalogue, as a board that is recognised.
func TestOf(t *testing.T) {
	for _, b := range board.All() {
		c := Of(b)
		if err := c.check(); err != nil {
			t.Errorf("%s: %v", b.Name(), err)
		}
		if !slices.Equal(c.Compatible, b.Compatible) || len(c.Processors) != len(b.Cores) {
			t.Errorf("%s: %+v", b.Name(), c)
		}
		for i, p := range c.Processors {
			if core, ok := board.CoreOf(p.Compatible); !ok || core.MCU != b.Cores[i].MCU {
				t.Errorf("%s: core %q is %v", b.Name(), p.Compatible, core.MCU)
			}
			if len(p.Memory) == 0 {
				t.Errorf("%s: %s has no memory", b.Name(), p.Name)
			}
		}
	}
}

func TestTimes(t *testing.T) {
	b, err := board.Lookup("am642-evm")
	if err != nil {
		t.Fatal(err)
	}
	c := Of(b).Times(2)
	if err := c.check(); err != nil || len(c.Processors) != 4 {
		t.Fatalf("%+v, %v", c.Processors, err)
	}
	if a, b := c.Processors[0], c.Processors[1]; a.Name != b.Name || a.NodeName != a.Name+"-0" || b.NodeName != a.Name+"-1" {
		t.Errorf("%+v, %+v", a, b)
	}
	if len(Of(b).Times(1).Processors) != 2 {
		t.Error("one time is not what it was")
	}
}
