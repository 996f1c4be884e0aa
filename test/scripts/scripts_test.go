// Package scripts tests the commands as users have them: built binaries, called from
// scripts, one behaviour a file.
package scripts

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are built and put in front of PATH.
var commands = []string{"hybrid", "hybrid-runtime", "hybrid-setup"}

var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "hybrid-bin"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	for _, c := range commands {
		build := exec.Command("go", "build", "-ldflags", "-s -w -X main.version=v0.0.0-test", "-o", bin, "../../cmd/"+c)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// params are those of a folder of scripts below testdata. In a script, BIN is the
// folder of the binaries and REPO that of the repository.
func params(folder string, env ...string) testscript.Params {
	return testscript.Params{
		Dir: filepath.Join("testdata", folder),
		Setup: func(e *testscript.Env) error {
			repo, err := filepath.Abs("../..")
			if err != nil {
				return err
			}
			e.Setenv("BIN", bin)
			e.Setenv("REPO", repo)
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Vars = append(e.Vars, env...)
			return nil
		},
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "elf": writeELF},
		UpdateScripts: *update,
	}
}

// update rewrites what scripts compare output with.
var update = flag.Bool("update", false, "write the expected output of scripts anew")

// exits is "exits CODE COMMAND…": runs the command and wants this exit code, which
// exec cannot tell apart.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = fmt.Sprint(exit.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func TestHybrid(t *testing.T) { testscript.Run(t, params("hybrid")) }
