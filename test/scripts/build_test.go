//go:build engine

package scripts

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestBuild needs root, runc, and HYBRID_SDK_BASE naming the OCI layout that hybrid
// sdk base makes. The scripts share a state folder, so they build one after another.
func TestBuild(t *testing.T) {
	base := os.Getenv("HYBRID_SDK_BASE")
	if base == "" {
		t.Fatal("HYBRID_SDK_BASE must name the OCI layout that hybrid sdk base makes")
	}
	testscript.Run(t, params("build", "HYBRID_BUILDER=embedded", "HYBRID_STATE="+t.TempDir(), "BASE=toolchain=oci-layout://"+base))
}
