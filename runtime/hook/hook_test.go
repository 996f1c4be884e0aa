package hook

import (
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func run(t *testing.T, h specs.Hook, state, dir string) error {
	t.Helper()
	return Run(t.Context(), "prestart", h, []byte(state), dir, (*exec.Cmd).Start)
}

func seconds(n int) *int { return &n }

// A hook sees its arguments and environment exactly, the state, and the bundle.
func TestRun(t *testing.T) {
	t.Setenv("OURS", "not its")
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	script := `{ cat; echo; echo "$0" "$@"; /usr/bin/env; pwd; } > ` + out
	h := specs.Hook{Path: "/bin/sh", Args: []string{"a name", "-c", script, "zero", "one two"}, Env: []string{"A=1", "B=2 3"}}
	if err := run(t, h, `{"id":"web"}`, dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "{\"id\":\"web\"}\nzero one two\n") || !strings.HasSuffix(text, "\n"+dir+"\n") ||
		!strings.Contains(text, "\nA=1\n") || !strings.Contains(text, "\nB=2 3\n") || strings.Contains(text, "OURS") {
		t.Errorf("%q", text)
	}
	// args[0] is what the program is called, not what is run
	h = specs.Hook{Path: "/bin/sh", Args: []string{"/bin/false", "-c", "tr '\\0' ' ' < /proc/$$/cmdline > " + out}}
	if err := run(t, h, "", filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(out); !strings.HasPrefix(string(got), "/bin/false -c ") {
		t.Errorf("%q", got)
	}
	if err := run(t, specs.Hook{Path: "/bin/true", Timeout: seconds(math.MaxInt)}, "", dir); err != nil {
		t.Errorf("a timeout for ever: %v", err)
	}
	if err := run(t, specs.Hook{Path: "/bin/true"}, strings.Repeat("x", 1<<20), dir); err != nil {
		t.Errorf("one that does not read: %v", err)
	}
}

func TestRunFails(t *testing.T) {
	sh := func(script string) specs.Hook {
		return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
	}
	child := filepath.Join(t.TempDir(), "child")
	timeout := sh("echo waiting; sleep 60 & echo $! >" + child + "; sleep 60")
	timeout.Timeout = seconds(1)
	for name, c := range map[string]struct {
		hook specs.Hook
		err  string
	}{
		"exit code": {sh("echo out; echo 'what is' wrong >&2; exit 3"), "hook prestart /bin/sh: exit status 3: out what is wrong"},
		"much said": {sh("for i in $(seq 5000); do echo no; done; echo the end; exit 1"), "exit status 1: o no"},
		"timeout":   {timeout, "hook prestart /bin/sh: it did not end within its timeout of 1 s: waiting"},
		"missing":   {specs.Hook{Path: "/nonexistent"}, "hook prestart /nonexistent: fork/exec /nonexistent: no such file or directory"},
		"a folder":  {specs.Hook{Path: "/"}, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			err := run(t, c.hook, "{}", "/")
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 2*maxSaid {
				t.Errorf("%v, want %q", err, c.err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	// what it had started was killed with it
	pid, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		line, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/cmdline")
		if err != nil || len(line) == 0 { // gone, or nobody has waited for it yet
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("process %s goes on: %q", pid, line)
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := Run(ctx, "prestart", sh("sleep 60"), nil, "/", (*exec.Cmd).Start); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("interrupted: %v", err)
	}
}

// What a hook leaves running holds nobody up.
func TestRunLeavesAProcess(t *testing.T) {
	began := time.Now()
	if err := run(t, specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "/bin/sleep 5 &"}}, "", "/"); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestCheck(t *testing.T) {
	for want, hooks := range map[string][]specs.Hook{
		"": {{Path: "/a"}, {Path: "/b", Timeout: seconds(1)}},
		`hooks.poststop[1]: path "b" is not absolute`:   {{Path: "/a"}, {Path: "b"}},
		`hooks.poststop[0]: path "" is not absolute`:    {{}},
		"hooks.poststop[0]: timeout 0 is not greater":   {{Path: "/a", Timeout: seconds(0)}},
		"hooks.poststop[0]: timeout -10 is not greater": {{Path: "/a", Timeout: seconds(-10)}},
	} {
		err := Check("poststop", hooks)
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
