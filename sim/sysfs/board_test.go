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
