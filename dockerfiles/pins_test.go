package dockerfiles

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func TestPins(t *testing.T) {
	commit := regexp.MustCompile(`^[0-9a-f]{40}$`)
	for _, sdk := range SDKs() {
		pins := Pins(sdk)
		if (len(pins) == 0) != (sdk == "baremetal") || (Version(sdk) == "") != (sdk == "baremetal") {
			t.Errorf("%s: %v", sdk, pins)
		}
		for _, p := range pins {
			if !commit.MatchString(p.Commit) || !strings.HasPrefix(p.URL, "https://") || p.Version == "" || len(p.Args) != 2 {
				t.Errorf("%s: %+v", sdk, p)
			}
		}
		_, text, err := Lookup(sdk)
		if err != nil {
			t.Fatal(err)
		}
		// each argument of a pin is written, and each that is written is in a pin
		for _, m := range regexp.MustCompile(`(?m)^ARG ([A-Z0-9]+_(?:COMMIT|URL))=`).FindAllSubmatch(text, -1) {
			if name := string(m[1]); !slices.ContainsFunc(pins, func(p Pin) bool { return slices.Contains(p.Args, name) }) {
				t.Errorf("%s: %s belongs to no %s", sdk, name, "…_VERSION above it")
			}
		}
	}
	if Pins("rtos") != nil || Version("rtos") != "" {
		t.Error("an unknown SDK has pins")
	}
}

// A compiler is one and the same for all, so that one stands in for it; and a secret
// is in no step but the one that needs it.
func TestStages(t *testing.T) {
	var toolchain string
	for _, sdk := range SDKs() {
		_, text, err := Lookup(sdk)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.Parse(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		stages, _, err := instructions.Parse(parsed.AST, nil)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range stages {
			names = append(names, s.Name)
			for _, c := range s.Commands {
				if strings.Contains(c.Name(), "run") && strings.Contains(c.(*instructions.RunCommand).String(), "type=secret") && s.Name != "download" {
					t.Errorf("%s: stage %s sees a secret", sdk, s.Name)
				}
			}
		}
		first := stages[0].Commands[0].(*instructions.RunCommand).String()
		if toolchain == "" {
			toolchain = first
		}
		if first != toolchain {
			t.Errorf("%s: the compiler is installed by %s, elsewhere by %s", sdk, first, toolchain)
		}
		if sdk == "baremetal" {
			continue
		}
		if !slices.Contains(names, "sdk") || !slices.Contains(names, "build") {
			t.Errorf("%s: stages %v: a named context can stand in for sdk", sdk, names)
		}
		if !bytes.Contains(text, []byte("RUN --mount=type=cache,id=hybrid-"+sdk+",")) {
			t.Errorf("%s: what is fetched is in no cache", sdk)
		}
	}
}
