//go:build kernel

package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// hybrid-setup is killed before each of its system calls: the file is the old or the
// new one, and whoever comes next puts all in order.
func TestSetupKilledAnywhere(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("%v (apt-get install strace)", err)
	}
	const before = "{\n  \"debug\": true\n}\n"
	dir := t.TempDir()
	file := filepath.Join(dir, "daemon.json")
	runtime, err := filepath.Abs("../../bin/hybrid-runtime")
	if err != nil {
		t.Fatal(err)
	}
	install := []string{"install", "--docker", "--docker-config", file, "--runtime", runtime}
	uninstall := []string{"uninstall", "--docker", "--docker-config", file}
	must := func(args []string) {
		t.Helper()
		if out, err := exec.Command("../../bin/hybrid-setup", args...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	is := func() string {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	must(install)
	after := is()
	must(uninstall)
	for name, args := range map[string][]string{"install": install, "uninstall": uninstall} {
		t.Run(name, func(t *testing.T) {
			hit, seen := 0, map[string]bool{}
			for _, site := range []string{"openat", "newfstatat", "fchownat", "fchown", "fchmod", "write", "fsync", "renameat", "unlinkat", "flock", "exit_group"} {
				for n := 1; ; n++ {
					if name == "uninstall" {
						must(install)
					}
					killed := killedAt(t, os.Environ(), site, n, append([]string{"../../bin/hybrid-setup"}, args...))
					text := is()
					if text != before && text != after {
						t.Fatalf("after a kill at %s %d the file is %q", site, n, text)
					}
					seen[text] = true
					must(install)
					if text := is(); text != after {
						t.Fatalf("after a kill at %s %d and an install the file is %q", site, n, text)
					}
					must(uninstall)
					entries, err := os.ReadDir(dir)
					if text := is(); err != nil || len(entries) != 1 || text != before {
						t.Fatalf("after a kill at %s %d and an uninstall there are %v, %v, and the file is %q", site, n, entries, err, text)
					}
					if !killed {
						break
					}
					hit++
				}
			}
			t.Logf("%d points", hit)
			if hit < 20 || len(seen) != 2 {
				t.Errorf("%d points, %d texts: the test is blind", hit, len(seen))
			}
		})
	}
}
