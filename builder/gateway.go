package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// frontend is the name of BuildKit's Dockerfile front end.
const frontend = "dockerfile.v0"

// keyCacheImports is the front end's attribute for the caches to start from.
const keyCacheImports = "cache-imports"

// inputs is what the front end reads and that is on no disk of this machine; url is the
// context if BuildKit has to fetch it.
func (b *build) inputs(ctx context.Context, gw gateway.Client, url string) (map[string]*pb.Definition, error) {
	states := maps.Clone(b.sources.inputs)
	if url != "" {
		f, err := fetch(ctx, gw, url, b.options.buildArgs)
		if err != nil {
			return nil, err
		}
		states[dockerui.DefaultLocalNameContext] = f.state
	}
	inputs := map[string]*pb.Definition{}
	for name, state := range states {
		def, err := state.Marshal(ctx)
		if err != nil {
			return nil, fmt.Errorf("context %s: %w", name, err)
		}
		inputs[name] = def.ToPB()
	}
	return inputs, nil
}

// solveVariant is one firmware as BuildKit sees it: the Dockerfile's result, verified and
// with its target.
func (b *build) solveVariant(ctx context.Context, gw gateway.Client, inputs map[string]*pb.Definition, v *variant) (*gateway.Result, *dockerspec.DockerOCIImage, error) {
	attrs := maps.Clone(v.attrs)
	if caches, ok := gw.BuildOpts().Opts[keyCacheImports]; ok { // of --cache-from, by BuildKit's client
		attrs[keyCacheImports] = caches
	}
	result, err := gw.Solve(ctx, gateway.SolveRequest{
		Frontend:       frontend,
		FrontendOpt:    attrs,
		FrontendInputs: inputs,
		Evaluate:       true,
	})
	if err != nil {
		return nil, nil, err
	}
	img, err := b.verify(ctx, b.dockerfile, v, result)
	return result, img, err
}

// verify checks a result, and completes the variant's target and the image's config.
func (b *build) verify(ctx context.Context, d *dockerfile, v *variant, result *gateway.Result) (*dockerspec.DockerOCIImage, error) {
	root, err := result.SingleRef()
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fmt.Errorf("%s: the image is empty: its last stage copies nothing", d.name)
	}
	img := &dockerspec.DockerOCIImage{}
	if err := json.Unmarshal(result.Metadata[exptypes.ExporterImageConfigKey], img); err != nil {
		return nil, fmt.Errorf("%s: image config from BuildKit: %w", d.name, err)
	}
	switch {
	case b.request.Firmware != "" && !d.ours:
		img.Config.Entrypoint, img.Config.Cmd = []string{b.request.Firmware}, nil
	case d.ours:
		program, err := onlyProgram(ctx, root)
		if err != nil {
			return nil, err
		}
		img.Config.Entrypoint, img.Config.Cmd = []string{program}, nil
	}
	if v.target, err = resolve(append(v.claims, claimsOf(img, d.name)...)); err != nil {
		return nil, err
	}
	if v.target == nil {
		return nil, errNoTarget
	}
	if own := v.target.board.Platform(); b.options.ownPlatform && platforms.Format(v.platform) != own {
		b.warn(v, fmt.Sprintf("the image is for %s, but Linux on %s is %s: say --platform %s, or the board with --board",
			platforms.Format(v.platform), v.target.board.Name(), own, own))
	}
	check := &verification{root: root, config: img, dockerfile: d, core: v.target.core, policy: b.policy, named: b.request.Firmware != "" && !d.ours}
	warnings, err := check.verify(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		b.warn(v, w)
	}
	return img, nil
}

// image is the gateway function of a build with one image for one core.
func (b *build) image(v *variant, url string) gateway.BuildFunc {
	return func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
		inputs, err := b.inputs(ctx, gw, url)
		if err != nil {
			return nil, err
		}
		result, img, err := b.solveVariant(ctx, gw, inputs, v)
		if err != nil {
			return nil, err
		}
		setTarget(img, v.target.Target)
		return result, b.describe(result, img, keyed(v.target.Target))
	}
}

// describe writes an image's config and annotations into a result.
func (b *build) describe(result *gateway.Result, img *dockerspec.DockerOCIImage, target map[string]string) error {
	slim(img)
	text, err := json.Marshal(img)
	if err != nil {
		return fmt.Errorf("image config: %w", err)
	}
	result.AddMeta(exptypes.ExporterImageConfigKey, text)
	extra := b.extra
	if b.request.makesIndex() {
		extra = extra.ofImages() // the rest is for the index, which BuildKit does not make
	}
	for key, value := range extra {
		result.AddMeta(key, []byte(value))
	}
	for key, value := range target {
		result.AddMeta(exptypes.AnnotationManifestKey(nil, key), []byte(value))
	}
	return nil
}
