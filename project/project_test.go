package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestParse(t *testing.T) {
	f, err := Parse("hybrid.yaml", []byte(`# a fleet
name: registry.example/team/blink:1
sdk: baremetal
targets:
  - imx8m-mini
  - target: imx943-evk/cortex-m33
    args:
      NAME: blink_m33
  - target: imx93-evk
pack: true
args:
  OPT: 010
  DEBUG: true
  EMPTY:
  TEXT: "a b"
  LINES: |
    a
    b
firmware: blink.elf
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{registry.example/team/blink:1 baremetal [{imx8m-mini  map[]} {imx943-evk cortex-m33 map[NAME:blink_m33]} {imx93-evk  map[]}] true ` +
		"map[DEBUG:true EMPTY: LINES:a\nb\n OPT:010 TEXT:a b] blink.elf}"
	if got := fmt.Sprint(*f); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if f, err := Parse("hybrid.yaml", nil); err != nil || fmt.Sprint(*f) != fmt.Sprint(File{}) {
		t.Errorf("empty: %v, %v", f, err)
	}
}

// bad are files with one mistake each, and what is said of it.
var bad = map[string]string{
	"naam: x\n":                                       `hybrid.yaml:1:1: unknown field "naam", did you mean name?`,
	"\n# a\nname: BAD\n":                              `hybrid.yaml:3:7: image name "BAD": `,
	"name: x\nsdk:  zefyr\n":                          `hybrid.yaml:2:7: unknown SDK "zefyr", there are: baremetal`,
	"name: [x]\n":                                     "hybrid.yaml:1:7: want a text",
	"name: x\ntargets: imx8m-mini\n":                  "hybrid.yaml:2:10: ",
	"targets:\n  - imx8m-mnii\n":                      `hybrid.yaml:2:5: unknown board "imx8m-mnii", did you mean imx8m-mini`,
	"targets:\n  - imx8m-mini/cortex-m7\n":            `hybrid.yaml:2:5: board imx8m-mini has no core "cortex-m7", it has cortex-m4`,
	"targets:\n  - imx943-evk\n":                      "hybrid.yaml:2:5: board imx943-evk has several kinds of core",
	"targets:\n  - target: nope\n    args: {A: 1}\n":  `hybrid.yaml:2:13: unknown board "nope"`,
	"targets:\n  - args: {A: 1}\n":                    "hybrid.yaml:2:",
	"targets:\n  - target: imx8m-mini\n    agrs: 1\n": `hybrid.yaml:3:5: unknown field "agrs"`,
	"targets:\n  - [a]\n":                             "hybrid.yaml:2:5: want BOARD/MCU",
	"args:\n  A: [1]\n":                               "hybrid.yaml:2:6: want a text or a number",
	"pack: maybe\n":                                   "hybrid.yaml:1:7: want true or false",
	"name: a\nname: b\n":                              "hybrid.yaml:2:1: ",
	"name: [a\n":                                      "hybrid.yaml:1:",
	"- a\n":                                           "hybrid.yaml:1:1: ",
}

func TestParseRefuses(t *testing.T) {
	for text, want := range bad {
		_, err := Parse("hybrid.yaml", []byte(text))
		var positioned *PositionError
		if !errors.As(err, &positioned) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if f, err := Load(dir); f != nil || err != nil {
		t.Errorf("without a file: %v, %v", f, err)
	}
	file := filepath.Join(dir, FileName)
	if err := os.WriteFile(file, []byte("name: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if f, err := Load(dir); err != nil || f.Name != "x" {
		t.Errorf("%v, %v", f, err)
	}
	if err := os.Truncate(file, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "is not a file of at most") {
		t.Errorf("large: %v", err)
	}
}

// The schema and the parser agree on what a file may look like; only the parser
// knows the catalogue.
func TestSchema(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		var document any
		if err := yaml.Unmarshal([]byte(text), &document); err != nil {
			return err
		}
		return resolved.Validate(document)
	}
	for _, good := range []string{
		"name: x\n", "targets: [imx8m-mini, {target: imx93-evk/cortex-m33, args: {A: 1, B: x}}]\n",
		"pack: true\nargs: {A: true}\nfirmware: a.elf\nsdk: zephyr\n",
	} {
		if _, err := Parse("hybrid.yaml", []byte(good)); err != nil {
			t.Errorf("the parser refuses %q: %v", good, err)
		}
		if err := validate(good); err != nil {
			t.Errorf("the schema refuses %q: %v", good, err)
		}
	}
	for text, want := range bad {
		if strings.Contains(want, "board") || strings.Contains(want, "core") || strings.Contains(want, "image name") { // not a matter of form
			continue
		}
		if err := validate(text); err == nil {
			t.Errorf("the schema accepts %q", text)
		}
	}
	if text, err := SchemaJSON(); err != nil || !strings.Contains(string(text), "as with --target-core") {
		t.Errorf("%s, %v", text, err)
	}
}

func FuzzParse(f *testing.F) {
	for text := range bad {
		f.Add([]byte(text))
	}
	f.Add([]byte("targets:\n  - target: imx8m-mini\nargs: {A: 1}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ended := make(chan error, 1)
		go func() { _, err := Parse("f", text); ended <- err }()
		select {
		case err := <-ended:
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
		case <-time.After(5 * time.Second):
			panic(fmt.Sprintf("does not end: %q", text))
		}
	})
}
