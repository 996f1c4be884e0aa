package builder

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/hybrid-containers/hybrid/image"
)

// packed is one variant's finished build.
type packed struct {
	result *gateway.Result
	config *dockerspec.DockerOCIImage
}

// pack is the gateway function of an image that holds the firmware of several cores:
// one layer with a file /BOARD/MCU/PROGRAM for each (see package image).
func (b *build) pack(url string) gateway.BuildFunc {
	return func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
		inputs, err := b.inputs(ctx, gw, url)
		if err != nil {
			return nil, err
		}
		built := make([]packed, len(b.variants))
		group, groupCtx := errgroup.WithContext(ctx)
		for i, v := range b.variants {
			group.Go(func() error {
				result, img, err := b.solveVariant(groupCtx, gw, inputs, v)
				if err != nil {
					return v.failed(err)
				}
				built[i] = packed{result, img}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		return b.packResult(ctx, gw, built)
	}
}

// packResult puts the firmware of all variants into one layer. The program has one
// name in the image, the first target's: an image has one ENTRYPOINT.
func (b *build) packResult(ctx context.Context, gw gateway.Client, built []packed) (*gateway.Result, error) {
	var action *llb.FileAction
	var program string
	var targets image.Targets
	for i, v := range b.variants {
		entry, err := entrypointOf(built[i].config)
		if err != nil {
			return nil, err
		}
		if program == "" {
			program = path.Base(entry)
		}
		from, err := stateOfResult(built[i].result)
		if err != nil {
			return nil, v.failed(err)
		}
		target := image.Target{Board: v.target.board.Name(), MCU: v.target.core.MCU}
		targets = append(targets, target)
		info := &llb.CopyInfo{CreateDestPath: true, FollowSymlinks: true, CopyDirContentsOnly: true}
		if to := target.Path(program); action == nil {
			action = llb.Copy(from, entry, to, info, created)
		} else {
			action = action.Copy(from, entry, to, info, created)
		}
	}
	root, err := solveState(ctx, gw, llb.Scratch().File(action, llb.WithCustomName("[pack] firmware of "+targets.String())))
	if err != nil {
		return nil, err
	}
	result := gateway.NewResult()
	result.SetRef(root)
	result.Metadata = maps.Clone(built[0].result.Metadata)
	img := built[0].config
	setTargets(img, targets)
	img.Config.Entrypoint, img.Config.Cmd, img.Config.WorkingDir = []string{program}, nil, "/"
	when := time.Unix(0, 0).UTC()
	img.History = []v1.History{{Created: &when, CreatedBy: "hybrid build --pack"}}
	img.RootFS.DiffIDs = nil
	return result, b.describe(result, img, map[string]string{image.KeyTargets: targets.String()})
}

// stateOfResult is a result's file system, to copy from.
func stateOfResult(result *gateway.Result) (llb.State, error) {
	ref, err := result.SingleRef()
	if err != nil {
		return llb.State{}, err
	}
	if ref == nil {
		return llb.State{}, errors.New("the build made nothing")
	}
	return ref.ToState()
}

// setTargets writes the targets of a packed image into its config, and takes out
// what says that it is for one of them.
func setTargets(img *dockerspec.DockerOCIImage, targets image.Targets) {
	setTarget(img, image.Target{})
	for _, key := range []string{image.KeyBoard, image.KeyMCU, image.KeyProcessor} {
		delete(img.Config.Labels, key)
	}
	img.Config.Labels[image.KeyTargets] = targets.String()
	img.Config.Env = append(slices.Clone(img.Config.Env), image.EnvTargets+"="+targets.String())
}
