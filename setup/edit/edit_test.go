package edit

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// Settings as engines want them.
var (
	dockerPath, dockerValue = []string{"runtimes", "hybrid"}, map[string]any{"path": "/usr/bin/hybrid-runtime"}
	podmanPath, podmanValue = []string{"engine", "runtimes", "hybrid"}, []any{"/usr/bin/hybrid-runtime"}
	criPath                 = []string{"plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes", "hybrid"}
	criValue                = map[string]any{"runtime_type": "io.containerd.hybrid.v1", "options": map[string]any{"SystemdCgroup": true}}
)

// addShapes makes seeds of the files of package setup's tests.
func addShapes(f *testing.F, pattern string) {
	f.Helper()
	files, err := filepath.Glob("../testdata/" + pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds, %v", err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(file.Data)
			f.Add(bytes.ReplaceAll(file.Data, []byte("\n"), []byte("\r\n")))
			f.Add(bytes.TrimRight(file.Data, "\n"))
		}
	}
}

// wantExact wants a setting to go into a text and out again: nothing else changes, it
// goes as it came, and also after others were edited.
func wantExact(t *testing.T, f Format, text []byte, path []string, value any) {
	t.Helper()
	before, err := f.Parse(text)
	if err != nil || Get(before, path...) != nil {
		return
	}
	i, err := Insert(f, text, path, value)
	if err != nil {
		if !errors.Is(err, ErrInexact) && !errors.As(err, new(*SyntaxError)) {
			t.Errorf("%q: %v", text, err)
		}
		return
	}
	made := i.Apply(text)
	doc, err := f.Parse(made)
	if err != nil || !reflect.DeepEqual(Get(doc, path...), value) {
		t.Fatalf("%q becomes %q, %v", text, made, err)
	}
	if back := append(bytes.Clone(made[:i.At]), made[i.At+len(i.Text):]...); !bytes.Equal(back, text) {
		t.Fatalf("%q is put into %q, and that is not all: %q", i.Text, text, made)
	}
	if bytes.Count(made, []byte(i.Text)) == 1 {
		if out, err := Remove(f, made, path, i.Text); err != nil || !bytes.Equal(out, text) {
			t.Fatalf("%q becomes %q becomes %q, %v", text, made, out, err)
		}
	}
	out, err := Remove(f, made, path, "") // as it stands there, whoever wrote it
	if err != nil {
		t.Fatalf("%q: %v", made, err)
	}
	after, err := f.Parse(out)
	if err != nil || Get(after, path...) != nil || !sameBut(before, after, path) {
		t.Fatalf("%q becomes %q becomes %q, %v", text, made, out, err)
	}
}

func FuzzInstallTOML(f *testing.F) {
	addShapes(f, "containerd_*.txtar")
	addShapes(f, "podman_*.txtar")
	f.Fuzz(func(t *testing.T, text []byte) {
		wantExact(t, TOML{}, text, podmanPath, podmanValue)
		wantExact(t, TOML{}, text, criPath, criValue)
		wantExact(t, TOML{}, text, []string{"SystemdCgroup"}, true)
	})
}

func FuzzInstallJSON(f *testing.F) {
	addShapes(f, "docker_*.txtar")
	f.Fuzz(func(t *testing.T, text []byte) { wantExact(t, JSON{}, text, dockerPath, dockerValue) })
}

func FuzzInstallTemplate(f *testing.F) {
	addShapes(f, "k3s_*.txtar")
	f.Fuzz(func(t *testing.T, text []byte) {
		value := map[string]any{"runtime_type": "io.containerd.hybrid.v1", "options": map[string]any{"SystemdCgroup": Action("{{ .SystemdCgroup }}")}}
		wantExact(t, Template{}, text, criPath, value)
	})
}

// What users have changed of a setting goes with it, and what they have put beside it
// stays as they wrote it.
func TestRemove(t *testing.T) {
	for _, c := range []struct {
		format    Format
		path      []string
		text      string
		insertion string
		want      string
	}{
		{JSON{}, dockerPath, `{"a": 1, "runtimes": {"hybrid": {"path": "/x"}, "crun": {}}}`, `, "runtimes": {"hybrid": {"path": "/x"}}`, `{"a": 1, "runtimes": {"crun": {}}}`},
		{JSON{}, dockerPath, `{"runtimes": {"crun": {} , "hybrid": {"path": "/x"} }}`, "", `{"runtimes": {"crun": {} }}`},
		{JSON{}, dockerPath, `{"runtimes": { "hybrid": 1 }, "a": [{"hybrid": 2}]}`, "", `{"runtimes": {}, "a": [{"hybrid": 2}]}`},
		{TOML{}, podmanPath, "[engine.runtimes]\nhybrid = [ # ours\n '/x',\n] # end\ncrun = ['/y']\n", "", "[engine.runtimes]\ncrun = ['/y']\n"},
		{TOML{}, podmanPath, "[engine]\nruntimes = { hybrid = ['/x'], crun = ['/y'] }\n", "", "[engine]\nruntimes = { crun = ['/y'] }\n"},
		{TOML{}, podmanPath, "[engine]\nruntimes = { crun = ['/y'], hybrid = ['/x'] }\n", ", hybrid = ['/x']", "[engine]\nruntimes = { crun = ['/y'] }\n"},
		{TOML{}, podmanPath, "[engine]\nruntimes = {hybrid = ['/x']}\n", "", "[engine]\nruntimes = {}\n"},
		{TOML{}, podmanPath, "engine.runtimes.hybrid = ['/x']\nengine.runtimes.crun = ['/y']", "", "engine.runtimes.crun = ['/y']"},
		{TOML{}, []string{"r", "hybrid"}, "[r.hybrid]\na = 1\n[r.hybrid.options]\nb = 2 # added\n\n# of c\n[c]\n", "[r.hybrid]\na = 1\n", "\n# of c\n[c]\n"},
		{TOML{}, []string{"r", "hybrid"}, "[x]\n\n[r.hybrid]\na = 1\n\n[r.hybrid.options]\n\n[c]\n", "", "[x]\n\n[c]\n"},
		{TOML{}, []string{"r", "hybrid"}, "[r.hybrid]\na = 1\n[[c]]\n[[c.hybrid]]\n[r.crun]\n", "", "[[c]]\n[[c.hybrid]]\n[r.crun]\n"},
		{TOML{}, []string{"r", "hybrid"}, "[r]\nhybrid.a = 1\nhybrid.b.c = 1\ncrun.a = 1\n", "", "[r]\ncrun.a = 1\n"},
	} {
		got, err := Remove(c.format, []byte(c.text), c.path, c.insertion)
		if err != nil || string(got) != c.want {
			t.Errorf("%q becomes %q, %v, want %q", c.text, got, err, c.want)
		}
	}
}

// A text in which the setting cannot be alone is refused, not guessed at.
func TestInexact(t *testing.T) {
	for _, c := range []struct {
		format Format
		path   []string
		text   string
	}{
		{TOML{}, podmanPath, "engine = 1\n"},
		{TOML{}, podmanPath, "[[engine]]\n"},
		{TOML{}, podmanPath, "engine = [{ runtimes = 1 }]\n"},
		{JSON{}, dockerPath, `{"runtimes": 1}`},
		{JSON{}, dockerPath, `{"runtimes": []}`},
	} {
		value := any(dockerValue)
		if i, err := Insert(c.format, []byte(c.text), c.path, value); err == nil {
			t.Errorf("%q takes %q", c.text, i.Text)
		}
	}
}

func TestQuoted(t *testing.T) {
	for _, s := range []string{"", `a "b" \c`, "tab\tline\n\x00\x1f\x7f", "grün…", strings.Repeat("x", 100)} {
		doc, err := TOML{}.Parse([]byte("k = " + quoted(s) + "\n" + dotted([]string{"t", s}) + " = 1\n"))
		if err != nil || doc["k"] != s || Get(doc, "t", s) != int64(1) {
			t.Errorf("%q is %q: %v, %v", s, quoted(s), doc, err)
		}
	}
}
