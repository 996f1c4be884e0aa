package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	generic "github.com/containerd/containerd/pkg/runtimeoptions/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// packed is a message as containerd sends it: 1.6 and later name its type alone.
func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &anypb.Any{TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: b}
}

func TestOptionsOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "options.toml")
	if err := os.WriteFile(file, []byte("Root = \"/run/file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	long, err := anypb.New(&options.Options{BinaryName: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		sent *anypb.Any
		want *options.Options // nil for an error
		says string
	}{
		"none":           {nil, &options.Options{}, ""},
		"empty":          {&anypb.Any{}, &options.Options{}, ""},
		"runc's":         {packed(t, &options.Options{BinaryName: "mine", SystemdCgroup: true}), &options.Options{BinaryName: "mine", SystemdCgroup: true}, ""},
		"runc's, by URL": {long, &options.Options{BinaryName: "mine"}, ""},
		"TOML": {
			packed(t, &generic.Options{ConfigBody: []byte("BinaryName = \"/opt/hybrid-runtime\"\nSystemdCgroup = true\nShimCgroup = \"/shims\"\n")}),
			&options.Options{BinaryName: "/opt/hybrid-runtime", SystemdCgroup: true, ShimCgroup: "/shims"}, "",
		},
		"TOML in a file": {packed(t, &generic.Options{ConfigPath: file}), &options.Options{Root: "/run/file"}, ""},
		"no such file":   {packed(t, &generic.Options{ConfigPath: file + ".gone"}), nil, "no such file"},
		"no TOML":        {packed(t, &generic.Options{ConfigBody: []byte("{")}), nil, "in TOML: "},
		"no message":     {&anypb.Any{TypeUrl: "containerd.runc.v1.Options", Value: []byte{0xff}}, nil, "options of the runtime: "},
		"another type":   {&anypb.Any{TypeUrl: "windows.options", Value: []byte{1}}, nil, `"windows.options"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := optionsOf(test.sent)
			switch {
			case test.want == nil:
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%v, %v, want an error with %q", got, err, test.says)
				}
			case err != nil || !proto.Equal(got, test.want):
				t.Errorf("%v, %v, want %v", got, err, test.want)
			}
		})
	}
}
