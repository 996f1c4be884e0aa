package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"

	"github.com/containerd/containerd/api/types"
	containerd "github.com/containerd/containerd/version"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// featuresType is what containerd calls the features of an OCI runtime.
const featuresType = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

// info answers what containerd asks a runtime before it uses it: options come in, and
// what is known of the runtime with these goes out, as messages.
func info(ctx context.Context, in io.Reader, out io.Writer) error {
	b, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	asked := &anypb.Any{}
	if err := proto.Unmarshal(b, asked); err != nil {
		return fmt.Errorf("options of the runtime: %w", err)
	}
	o, err := optionsOf(asked)
	if err != nil {
		return err
	}
	known := &types.RuntimeInfo{
		Name:    runtimeType,
		Version: &types.RuntimeVersion{Version: version, Revision: containerd.Revision},
	}
	if len(b) != 0 {
		known.Options = asked
	}
	if o.BinaryName == "" {
		o.BinaryName = binary()
	}
	features, err := featuresOf(ctx, o.BinaryName)
	if err != nil {
		return err
	}
	known.Features = &anypb.Any{TypeUrl: featuresType, Value: features}
	if b, err = proto.Marshal(known); err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// featuresOf is what a runtime says of itself, in the JSON of the specification.
func featuresOf(ctx context.Context, runtime string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, runtime, "features")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s features: %w: %s", runtime, err, bytes.TrimSpace(errOut.Bytes()))
	}
	if !json.Valid(out) {
		return nil, fmt.Errorf("%s features: no JSON: %.100q", runtime, out)
	}
	return out, nil
}
