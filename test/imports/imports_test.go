// Package imports holds the architecture as tests: which room may import which, and
// what the runtime's binary must not contain.
package imports

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hybrid-containers/hybrid/"

// rooms says what each folder may import of ours. A room stands for the folders
// below it too, unless these have a line of their own; what it may import is meant
// in the same way, but for names that end in /., which are that folder alone.
// Every package of the module is in one of them.
var rooms = map[string][]string{
	// shared by builder and runtime, which never meet
	"board":          {"board/yaml"},
	"board/yaml":     {},
	"firmware":       {"board"},
	"firmware/check": {"board", "firmware"}, // the build host's
	"image":          {},
	"image/engine":   {"image"},

	"builder":          {"builder/buildkit", "board", "image", "firmware", "dockerfiles", "sdk", "project"},
	"builder/buildkit": {},
	"project":          {"board", "sdk"},
	"dockerfiles":      {},
	"sdk":              {},
	"inspect":          {"board", "image", "firmware"},
	"cmd/hybrid":       {"builder", "inspect", "board", "image", "firmware", "dockerfiles", "sdk", "project"},

	"runtime":            {"runtime", "board", "image", "firmware"},
	"runtime/remoteproc": {},
	"runtime/process":    {},
	"runtime/cgroup":     {},
	"runtime/namespace":  {},
	"runtime/hook":       {},
	"runtime/delegate":   {},
	"runtime/claim":      {"runtime/remoteproc", "runtime/process", "firmware"},
	"runtime/monitor":    {"runtime/remoteproc", "runtime/claim"},
	"runtime/bundle":     {"board", "image", "firmware"},
	"cmd/hybrid-runtime": {"runtime", "board", "image", "firmware"},

	"setup":            {"setup"},
	"setup/edit":       {},
	"setup/doctor":     {"setup", "board", "runtime/remoteproc", "runtime/claim", "runtime/cgroup", "runtime/delegate"},
	"cmd/hybrid-setup": {"setup"},

	// what Kubernetes is told
	"deviceplugin":             {"runtime/remoteproc", "runtime/claim", "board", "image"},
	"cmd/hybrid-device-plugin": {"deviceplugin", "runtime/remoteproc"},

	"sim":                  {"sim", "board", "firmware"},
	"cmd/hybrid-sim":       {"sim", "board"},
	"cmd/hybrid-sim-guest": {"sim"},

	// black-box: they drive boards and built binaries, and know nothing inside
	"test":         {"sim", "board", "test/daemons", "test/fixture"},
	"test/daemons": {},
	"test/fixture": {"sim", "board"},
}

// inTests is what the tests of a room may import besides.
var inTests = map[string][]string{
	"firmware/check":     {"sim"},
	"inspect":            {"sim", "builder"},
	"sdk":                {"board"},
	"runtime":            {"sim"},
	"runtime/remoteproc": {"sim", "board"},
	"runtime/bundle":     {"sim"},
	"runtime/claim":      {"sim", "board"},
	"runtime/monitor":    {"sim", "board"},
	"cmd/hybrid-runtime": {"sim"},
	"setup/doctor":       {"runtime/process"},
}

type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// roomOf is the nearest folder at or above dir that has a line in the table.
func roomOf(dir string) (string, bool) {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := rooms[dir]; ok {
			return dir, true
		}
	}
	return "", false
}

func within(dir, room string) bool { return dir == room || strings.HasPrefix(dir, room+"/") }

func TestImportTable(t *testing.T) {
	seen := 0
	for _, p := range list(t, "-tags", "kernel,engine,kubernetes", "./...") {
		dir := strings.TrimPrefix(p.ImportPath, module)
		room, ok := roomOf(dir)
		if !ok {
			t.Errorf("%s is in no room of the table", dir)
			continue
		}
		check := func(imports, allowed []string) {
			for _, i := range imports {
				other, ours := strings.CutPrefix(i, module)
				if !ours || other == dir || (room == "sim" && within(other, room)) {
					continue
				}
				seen++
				if !slices.ContainsFunc(allowed, func(r string) bool { return within(other, r) }) {
					t.Errorf("%s imports %s, which the table does not allow", dir, other)
				}
			}
		}
		check(p.Imports, rooms[room])
		check(slices.Concat(p.TestImports, p.XTestImports), slices.Concat(rooms[room], inTests[room]))
	}
	if seen < 20 {
		t.Errorf("only %d imports were looked at: the test is blind", seen)
	}
}

// The shim is a module of its own, which knows hybrid-runtime as a binary alone.
func TestShimImportsNothingOfOurs(t *testing.T) {
	const dir = "../../cmd/containerd-shim-hybrid-v1"
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			seen++
			if strings.HasPrefix(i.Path.Value, `"`+module) {
				t.Errorf("%s imports %s", name, i.Path.Value)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d imports were looked at: the test is blind", seen)
	}
	mod, err := os.ReadFile(dir + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	switch text := string(mod); {
	case !strings.HasPrefix(text, "module "+module+"cmd/containerd-shim-hybrid-v1\n"):
		t.Errorf("another module: %.80q", text)
	case strings.Count(text, module) != 1:
		t.Errorf("go.mod requires what is ours")
	case !strings.Contains(text, "\tgithub.com/containerd/containerd v1.7."):
		t.Errorf("go.mod is not on containerd's 1.7 line, whose shims containerd 1.6 accepts")
	}
}

// The runtime opens no network connection, and is small: what would let it do the
// one would end the other.
func TestRuntimeIsLean(t *testing.T) {
	forbidden := []string{
		"net/http", "crypto/tls", "google.golang.org/grpc", "encoding/gob", "database/sql", "net", "text/template", module + "firmware/check",
		// they cost each start of the runtime more than all the rest, for digests, which have a fixed form
		"regexp", "github.com/opencontainers/go-digest", "github.com/opencontainers/image-spec/specs-go/v1",
	}
	allowed := []string{ // outside of the standard library and of ours
		"github.com/cyphar/filepath-securejoin", "github.com/opencontainers/runtime-spec", "golang.org/x/sys",
	}
	var standard []string
	cmd := exec.Command("go", "list", "std")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	standard = strings.Fields(string(out))
	cmd = exec.Command("go", "list", "-deps", "./cmd/hybrid-runtime")
	cmd.Dir = "../.."
	if out, err = cmd.Output(); err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"runtime/monitor") {
		t.Fatalf("go list -deps sees nothing: %v", deps)
	}
	for _, d := range deps {
		switch {
		case slices.Contains(forbidden, d):
			t.Errorf("hybrid-runtime links %s", d)
		case strings.HasPrefix(d, module), slices.Contains(standard, d), strings.HasPrefix(d, "vendor/"):
		case !slices.ContainsFunc(allowed, func(a string) bool { return within(d, a) }):
			t.Errorf("hybrid-runtime depends on %s: say in the table why it must", d)
		}
	}
}
