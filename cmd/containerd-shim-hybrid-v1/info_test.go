package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"google.golang.org/protobuf/proto"
)

// script makes a program.
func script(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestInfo(t *testing.T) {
	for name, test := range map[string]struct{ does, want, fails string }{
		"features":    {`test "$*" = features && echo '{"ociVersionMin":"1.0.0"}'`, `{"ociVersionMin":"1.0.0"}` + "\n", ""},
		"no features": {"echo no such verb >&2; exit 1", "", "features: exit status 1: no such verb"},
		"no JSON":     {"echo hello", "", "no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := packed(t, &options.Options{BinaryName: script(t, "runtime", test.does, 0o755)})
			in, err := proto.Marshal(asked)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err = info(t.Context(), bytes.NewReader(in), &out)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) || out.Len() != 0 {
					t.Errorf("%v, %q, want an error with %q", err, &out, test.fails)
				}
				return
			}
			var got types.RuntimeInfo
			if err != nil || proto.Unmarshal(out.Bytes(), &got) != nil {
				t.Fatalf("%v, %q", err, &out)
			}
			if got.Name != runtimeType || got.Version.Version != version || !proto.Equal(got.Options, asked) {
				t.Errorf("%v", &got)
			}
			if f := got.Features; f.GetTypeUrl() != featuresType || string(f.GetValue()) != test.want {
				t.Errorf("features %v, want %q", f, test.want)
			}
		})
	}
}

func TestBeside(t *testing.T) {
	there := script(t, runtimeName, "", 0o755)
	if got := beside(filepath.Join(filepath.Dir(there), "shim")); got != there {
		t.Errorf("%s, want %s", got, there)
	}
	for _, file := range []string{script(t, runtimeName, "", 0o644), script(t, "another", "", 0o755)} {
		if got := beside(filepath.Join(filepath.Dir(file), "shim")); got != runtimeName {
			t.Errorf("beside %s: %s, want the name alone", file, got)
		}
	}
}
