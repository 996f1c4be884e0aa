package dockerfiles

import (
	"bytes"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// What builder and runtime rely on, of every Dockerfile.
func TestDockerfiles(t *testing.T) {
	if len(SDKs()) == 0 {
		t.Fatal("there are none")
	}
	for _, sdk := range SDKs() {
		name, text, err := Lookup(sdk)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { check(t, text) })
	}
}

func check(t *testing.T, text []byte) {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	stages, args, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, a := range args {
		for _, kv := range a.Args {
			declared[kv.Key] = true
		}
	}
	for _, want := range []string{"BOARD", "MCU", "NAME"} {
		if !declared[want] {
			t.Errorf("no build argument %s", want)
		}
	}
	if len(stages) < 2 {
		t.Fatalf("%d stages", len(stages))
	}
	if first := stages[0]; first.Name != "toolchain" || first.Platform != "$BUILDPLATFORM" {
		t.Errorf("the first stage is %q for %q: a compiler runs on the builder, and can be replaced by name", first.Name, first.Platform)
	}
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" {
		t.Errorf("the last stage is from %s", last.BaseName)
	}
	layers, entrypoint := 0, false
	for _, c := range last.Commands {
		switch c := c.(type) {
		case *instructions.CopyCommand, *instructions.AddCommand, *instructions.RunCommand, *instructions.WorkdirCommand:
			layers++
		case *instructions.EntrypointCommand:
			entrypoint = !c.PrependShell && len(c.CmdLine) == 1
		}
	}
	if layers != 1 || !entrypoint {
		t.Errorf("the last stage makes %d layers, entrypoint in exec form: %v", layers, entrypoint)
	}
	if strings.Contains(string(text), "syntax=") {
		t.Error("a syntax line fetches the front end from a registry")
	}
}

func TestLookupUnknown(t *testing.T) {
	for _, name := range []string{"rtos", "", "../sdk/sdk", "*"} {
		if _, _, err := Lookup(name); err == nil || !strings.Contains(err.Error(), "there are: baremetal") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
