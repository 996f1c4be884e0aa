//go:build kernel && !arm

package facts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/sim/vm"
)

// TestVirtualBoard runs the list on the kernel of the virtual board: the same test
// binary, built for it. Every fact must pass there by name.
func TestVirtualBoard(t *testing.T) { onBoard(t, list, "TestFacts", vm.Config{}) }

// TestVirtualBoardRunning runs what firmware does.
func TestVirtualBoardRunning(t *testing.T) { onBoard(t, runningList, "TestRunning", vm.Config{}) }

// TestVirtualBoardBooted does so with a core that a boot loader started.
func TestVirtualBoardBooted(t *testing.T) {
	booted := filepath.Join(t.TempDir(), "booted.elf")
	if err := os.WriteFile(booted, bootedFirmware, 0o644); err != nil {
		t.Fatal(err)
	}
	onBoard(t, bootedList, "TestBooted", vm.Config{Booted: booted})
}

// TestVirtualBoardKernel runs what only a kernel has.
func TestVirtualBoardKernel(t *testing.T) { onBoard(t, kernelList, "TestKernelOnly", vm.Config{}) }

func onBoard(t *testing.T, list []fact, test string, config vm.Config) {
	dir := t.TempDir()
	build(t, "test", "-c", "-tags", "kernel", "-o", filepath.Join(dir, "facts.test"), ".")
	build(t, "build", "-o", filepath.Join(dir, "hybrid-sim-guest"), "../../../cmd/hybrid-sim-guest")

	config.GuestInit = filepath.Join(dir, "hybrid-sim-guest")
	config.Shares = []vm.Share{
		{Host: dir, Guest: "/facts", ReadOnly: true},
		{Host: os.Getenv("FACTS_FIRMWARE"), Guest: "/elfs", ReadOnly: true},
	}
	config.Progress = os.Stderr
	linux, err := vm.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := linux.Close(); err != nil {
			t.Error(err)
		}
	})
	var out bytes.Buffer
	c := linux.Command(t.Context(), "/facts/facts.test", "-test.v", "-test.run=^"+test+"$")
	c.Env = []string{"FACTS_WORLD=kernel", "FACTS_FIRMWARE=/elfs"}
	c.Stdout, c.Stderr = &out, &out
	runErr := c.Run()

	results := parse(out.String(), list, test)
	if len(results) < len(list) {
		t.Errorf("on the board: %v, after %d of %d facts\n%s", runErr, len(results), len(list), tail(out.String(), 20))
	}
	for _, f := range list {
		t.Run(f.name, func(t *testing.T) {
			r, ok := results[f.name]
			switch {
			case !ok:
				t.Fatal("was not run on the board")
			case !r.passed:
				t.Fatalf("does not hold on the board:\n%s", r.output)
			}
		})
		delete(results, f.name)
	}
	for name := range results {
		t.Errorf("the board ran %q, which is not in the list", name)
	}
	if runErr != nil {
		t.Errorf("on the board: %v", runErr)
	}
}

// build runs the go command for the board.
func build(t *testing.T, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm", "GOARM=7", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

type result struct {
	passed bool
	output string
}

// parse reads the output of -test.v: what each fact wrote, and how it ended.
func parse(out string, list []fact, test string) map[string]result {
	names := map[string]string{} // as the testing package rewrites them
	for _, f := range list {
		names[strings.ReplaceAll(f.name, " ", "_")] = f.name
	}
	name := func(rewritten string) string {
		rewritten = strings.TrimPrefix(rewritten, test+"/")
		if name, ok := names[rewritten]; ok {
			return name
		}
		return rewritten
	}
	results, output, running := map[string]result{}, map[string]string{}, ""
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 3 && fields[0] == "===":
			running = name(fields[2])
		case len(fields) >= 3 && fields[0] == "---":
			if strings.HasPrefix(fields[2], test+"/") {
				results[name(fields[2])] = result{fields[1] == "PASS:", output[name(fields[2])]}
			}
		default:
			output[running] += line
		}
	}
	return results
}

// tail is the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
