//go:build kernel

package kernel

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// TestSimulated runs the scripts on the simulation.
func TestSimulated(t *testing.T) {
	dir := t.TempDir()
	w, err := newSimulated(dir, func(*sysfs.Config) {}, "m4")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	scripts(t, w, firmware(t), t.TempDir(), "sim")
}

// TestVirtualBoard runs the scripts on a real kernel, with firmware that runs.
func TestVirtualBoard(t *testing.T) {
	fw, work := firmware(t), t.TempDir()
	var console bytes.Buffer
	w, err := newVirtual(t.Context(), &console, fw, work)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the board's console:\n%s", console.String())
		}
	})
	scripts(t, w, fw, work, "kernel")
}

// firmware builds what the scripts put on the core, and returns its folder.
func firmware(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sdk, err := filepath.Abs("../../sdk/baremetal")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{
		{"../../examples/hello_world", "BOARD=qemu-virt", "O=" + dir},
		{"firmware", "BOARD=qemu-virt", "O=" + dir},
		{"firmware/rpmsg", "O=" + dir},
		{"../../examples/hello_world", "BOARD=imx8m-mini", "O=" + filepath.Join(dir, "imx8m-mini")},
	} {
		if out, err := exec.Command("make", append([]string{"-C", c[0], "SDK=" + sdk}, c[1:]...)...).CombinedOutput(); err != nil {
			t.Fatalf("make %q: %v\n%s", c, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("not an ELF file"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serial is a testscript.T that runs one script after the other: there is one
// processor.
type serial struct{ *testing.T }

func (serial) Parallel()     {}
func (serial) Verbose() bool { return testing.Verbose() }
func (s serial) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(serial{t}) })
}

// scripts runs testdata/*.txtar one after the other, as there is one processor.
// Scripts have, besides testscript's own commands:
//
//	board COMMAND…             runs a command on the board; stdout and stderr look at its output
//	eventually REGEXP COMMAND… the same, again and again until its output matches
//	kill9 PID                  kills a process and waits until it is dead
//	pid NAME ID                sets the variable NAME to the process number of a container
//	image DIR KEY=VALUE…       makes an OCI layout: elf=FILE or elf:NAME=FILE, board= mcu= (manifest annotations), label.board= …
//	concurrently N COMMAND…    runs it N times at once, with {} replaced by a number; exactly one must succeed
//
// $FW is the folder of firmware, $SYS what comes before /sys and /run. After each
// script the board must be as it was before.
func scripts(t *testing.T, w world, fw, work, name string) {
	run := func(ts *testscript.TestScript, args []string) int {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		code, err := w.run(ctx, ts.Stdout(), ts.Stderr(), args...)
		ts.Check(err)
		return code
	}
	testscript.RunT(serial{t}, testscript.Params{
		Dir:                 "testdata",
		WorkdirRoot:         work,
		RequireExplicitExec: true,
		ContinueOnError:     false,
		Condition: func(cond string) (bool, error) {
			if cond != "sim" && cond != "kernel" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return cond == name, nil
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("FW", fw)
			e.Setenv("SYS", w.sys())
			e.Setenv("RPROC", w.sys()+"/sys/class/remoteproc/remoteproc0")
			e.Setenv("DEBUG", w.sys()+"/sys/kernel/debug/remoteproc/remoteproc0")
			before, err := traces(w)
			if err != nil {
				return err
			}
			e.Defer(func() {
				after, err := traces(w)
				for try := 0; err == nil && len(left(before, after)) > 0 && try < 20; try++ {
					time.Sleep(50 * time.Millisecond) // a monitor may be about to end
					after, err = traces(w)
				}
				if err != nil {
					e.T().Fatal(err)
				}
				if left := left(before, after); len(left) > 0 {
					cleanUp(w)
					e.T().Fatal(fmt.Sprintf("left behind: %q", left))
				}
			})
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"board": func(ts *testscript.TestScript, neg bool, args []string) {
				if code := run(ts, args); (code != 0) != neg {
					ts.Fatalf("exit code %d", code)
				}
			},
			"exitcode": func(ts *testscript.TestScript, neg bool, args []string) {
				if code := run(ts, args[1:]); fmt.Sprint(code) != args[0] {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
			"eventually": func(ts *testscript.TestScript, neg bool, args []string) {
				want, err := regexp.Compile("(?m)" + args[0])
				ts.Check(err)
				var out bytes.Buffer
				for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					out.Reset()
					_, err := w.run(ctx, &out, &out, args[1:]...)
					cancel()
					ts.Check(err)
					if want.Match(out.Bytes()) {
						_, _ = ts.Stdout().Write(out.Bytes())
						return
					}
				}
				ts.Fatalf("%q never said %q, but\n%s", args[1:], args[0], out.String())
			},
			"pid": func(ts *testscript.TestScript, neg bool, args []string) {
				out, err := output(context.Background(), w, "hybrid-runtime", "state", args[1])
				ts.Check(err)
				var s struct{ PID int }
				ts.Check(json.Unmarshal([]byte(out), &s))
				ts.Setenv(args[0], fmt.Sprint(s.PID))
			},
			"kill9": func(ts *testscript.TestScript, neg bool, args []string) {
				// dead is when the last thread is, even if nobody waits for the zombie
				_, err := output(context.Background(), w, "sh", "-c", `kill -9 $1
while s=$(cat /proc/$1/status 2>/dev/null) && ! { echo "$s" | grep -q "^State:.Z" && echo "$s" | grep -q "^Threads:.1$"; }; do sleep 0.01; done`, "sh", args[0])
				ts.Check(err)
			},
			"image": func(ts *testscript.TestScript, neg bool, args []string) {
				ts.Check(writeImage(ts.MkAbs(args[0]), args[1:]))
			},
			"concurrently": func(ts *testscript.TestScript, neg bool, args []string) {
				concurrently(ts, w, args[0], args[1:])
			},
		},
	})
}

func concurrently(ts *testscript.TestScript, w world, count string, args []string) {
	var n int
	if _, err := fmt.Sscan(count, &n); err != nil {
		ts.Fatalf("%q is not a number", count)
	}
	type result struct {
		code   int
		stderr string
		err    error
	}
	results := make(chan result, n)
	for i := range n {
		go func() {
			var mine []string
			for _, a := range args {
				mine = append(mine, strings.ReplaceAll(a, "{}", fmt.Sprint(i)))
			}
			var out, errOut bytes.Buffer
			code, err := w.run(context.Background(), &out, &errOut, mine...)
			results <- result{code, errOut.String(), err}
		}()
	}
	succeeded := 0
	for range n {
		r := <-results
		ts.Check(r.err)
		if r.code == 0 {
			succeeded++
		} else {
			fmt.Fprint(ts.Stderr(), r.stderr)
		}
	}
	if succeeded != 1 {
		ts.Fatalf("%d of %d succeeded, want one", succeeded, n)
	}
}

// traces is everything that a container could leave: the processor's attributes,
// files, processes, mounts.
func traces(w world) ([]string, error) {
	script := `cd "$1/" && for a in state firmware recovery coredump; do echo "$a $(cat sys/class/remoteproc/remoteproc0/$a)"; done
find run/hybrid/containers run/hybrid/processors lib/firmware -mindepth 1 2>/dev/null | grep -v '\.lock$' | sort
for p in /proc/[0-9]*; do [ "$(tr '\0' '\n' 2>/dev/null < $p/cmdline | head -n 1)" = hybrid-monitor ] && echo "process $p"; done
grep -c " $1/" /proc/mounts`
	out, err := output(context.Background(), w, "sh", "-c", script, "sh", w.sys())
	return strings.Split(strings.TrimSpace(out), "\n"), err
}

// cleanUp ends what a failed script left, so that the next one can run.
func cleanUp(w world) {
	out, _ := output(context.Background(), w, "hybrid-runtime", "list", "-q")
	for id := range strings.FieldsSeq(out) {
		_, _ = output(context.Background(), w, "hybrid-runtime", "delete", "--force", id)
	}
}

// writeImage makes an OCI layout with one layer, or with none if there is no elf.
func writeImage(dir string, args []string) error {
	annotations, labels, env := map[string]string{}, map[string]string{}, []string{}
	var layers []any
	var entrypoint []string
	put := func(b []byte) (map[string]any, error) {
		sum := fmt.Sprintf("%x", sha256.Sum256(b))
		if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755); err != nil {
			return nil, err
		}
		return map[string]any{"digest": "sha256:" + sum, "size": len(b)}, os.WriteFile(filepath.Join(dir, "blobs/sha256", sum), b, 0o644)
	}
	putJSON := func(mediaType string, v any) (map[string]any, error) {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		d, err := put(b)
		d["mediaType"] = mediaType
		return d, err
	}
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		switch {
		case key == "elf" || strings.HasPrefix(key, "elf:"): // elf:NAME is what it is called in the image
			name := filepath.Base(value)
			if _, other, ok := strings.Cut(key, ":"); ok {
				name = other
			}
			b, err := os.ReadFile(value)
			if err != nil {
				return err
			}
			var layer bytes.Buffer
			tw := tar.NewWriter(&layer)
			if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
				return err
			}
			if _, err := tw.Write(b); err != nil {
				return err
			}
			if err := tw.Close(); err != nil {
				return err
			}
			d, err := put(layer.Bytes())
			if err != nil {
				return err
			}
			d["mediaType"] = "application/vnd.oci.image.layer.v1.tar"
			layers, entrypoint = append(layers, d), []string{filepath.Base(name)}
		case strings.HasPrefix(key, "label."):
			labels[strings.TrimPrefix(key, "label.")] = value
		case strings.HasPrefix(key, "env."):
			env = append(env, strings.TrimPrefix(key, "env.")+"="+value)
		default:
			annotations[key] = value
		}
	}
	config, err := putJSON("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": "arm64", "os": "linux", "rootfs": map[string]any{"type": "layers"},
		"config": map[string]any{"Entrypoint": entrypoint, "Labels": labels, "Env": env},
	})
	if err != nil {
		return err
	}
	manifest, err := putJSON("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "config": config, "layers": layers, "annotations": annotations,
	})
	if err != nil {
		return err
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644)
}
