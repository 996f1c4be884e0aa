package scripts

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestHybridRuntime is what the runtime says without a processor; the rest is in
// test/kernel.
func TestHybridRuntime(t *testing.T) { testscript.Run(t, params("runtime")) }
