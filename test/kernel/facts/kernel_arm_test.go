//go:build kernel

package facts

import "testing"

// TestKernelOnly runs the list of what only a kernel has, on the virtual board.
func TestKernelOnly(t *testing.T) { run(t, kernelList, false) }

// TestRunning runs the list of what firmware does.
func TestRunning(t *testing.T) { run(t, runningList, false) }
