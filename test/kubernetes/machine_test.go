//go:build kubernetes

package kubernetes

import (
	"os"
	"testing"
)

// keepSettings puts the settings of the kernel that kubelet changes back at the end of
// the test.
func keepSettings(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	} {
		name = "/proc/sys/" + name
		value, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(name, value, 0o644); err != nil {
				t.Error(err)
			}
		})
	}
}
