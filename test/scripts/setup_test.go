package scripts

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestHybridSetup is on images of systems: what engines make of it is in test/engines.
func TestHybridSetup(t *testing.T) { testscript.Run(t, params("setup")) }
