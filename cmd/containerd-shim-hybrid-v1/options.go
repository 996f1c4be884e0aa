package main

import (
	"fmt"
	"os"
	"path"

	"github.com/containerd/containerd/api/types/runc/options"
	generic "github.com/containerd/containerd/pkg/runtimeoptions/v1"
	"github.com/pelletier/go-toml/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// optionsOf are the options of a request, which are those of the runc shim.
// Kubernetes' side of containerd knows no type of options for the names of others, and
// sends their part of its configuration as it is written there; some callers send the
// name of a file with the same.
func optionsOf(a *anypb.Any) (*options.Options, error) {
	o := &options.Options{}
	if len(a.GetValue()) == 0 {
		return o, nil
	}
	switch url := a.GetTypeUrl(); path.Base(url) {
	case "containerd.runc.v1.Options":
		if err := proto.Unmarshal(a.GetValue(), o); err != nil {
			return nil, fmt.Errorf("options of the runtime: %w", err)
		}
		return o, nil
	case "runtimeoptions.v1.Options":
		g := &generic.Options{}
		if err := proto.Unmarshal(a.GetValue(), g); err != nil {
			return nil, fmt.Errorf("options of the runtime: %w", err)
		}
		text := g.GetConfigBody()
		if file := g.GetConfigPath(); file != "" {
			var err error
			if text, err = os.ReadFile(file); err != nil {
				return nil, fmt.Errorf("options of the runtime: %w", err)
			}
		}
		if err := toml.Unmarshal(text, o); err != nil {
			return nil, fmt.Errorf("options of the runtime, in TOML: %w", err)
		}
		return o, nil
	default:
		return nil, fmt.Errorf("options of the type %q: those of runc or TOML are wanted", url)
	}
}
