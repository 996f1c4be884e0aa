//go:build kernel

package facts

import "testing"

// TestKernelOnly runs the list of what only a kernel has, on the virtual board.
func TestKernelOnly(t *testing.T) {
	for _, f := range kernelList {
		t.Run(f.name, func(t *testing.T) { steps(t, kernelWorld(t, false), f.steps...) })
	}
}
