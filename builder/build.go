package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/sdk"
)

// frontend is the name of BuildKit's Dockerfile front end.
const frontend = "dockerfile.v0"

// Result says what was built.
type Result struct {
	Target image.Target // as it stands in the image
	// Response is what BuildKit's exporters say: containerimage.digest and others.
	Response map[string]string
}

// ID is what Docker calls the image's ID: the digest of its config, or of its
// manifest; empty if nothing was made into an image.
func (r *Result) ID() string {
	if id := r.Response[exptypes.ExporterImageConfigDigestKey]; id != "" {
		return id
	}
	return r.Response[exptypes.ExporterImageDigestKey]
}

// build is one build in progress.
type build struct {
	request    *Request
	options    *options
	outputs    []*output
	dockerfile *dockerfile
	sources    *sources
	claims     []image.Claim // about the target, from outside of the Dockerfile
	extra      annotations   // of --annotation, without the target
	attrs      map[string]string

	target   *resolved // known after the solve
	warnings []string
	failed   error // why the gateway function failed, with its types
}

// Build builds what r asks for. A malformed request is a *UsageError.
func Build(ctx context.Context, r Request) (*Result, error) {
	return buildOn(ctx, r, func(o buildkit.Options) (*buildkit.BuildKit, func() error, error) {
		bk, err := buildkit.Open(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		return bk, bk.Close, nil
	})
}

// buildOn builds on the BuildKit that open gives, which is asked for only once the
// request is known to make sense.
func buildOn(ctx context.Context, r Request, open func(buildkit.Options) (*buildkit.BuildKit, func() error, error)) (*Result, error) {
	r.defaults()
	b, err := prepare(&r)
	if err != nil {
		return nil, err
	}
	defer b.sources.close()

	r.BuildKit.Waiting = func(dir string) {
		fmt.Fprintf(r.Stderr, "another build uses %s, waiting for it to end\n", dir)
	}
	bk, done, err := open(r.BuildKit)
	if err != nil {
		return nil, err
	}
	result, err := b.run(ctx, bk)
	return result, errors.Join(err, done())
}

func (r *Request) defaults() {
	if r.Stdin == nil {
		r.Stdin = os.Stdin
	}
	if r.Stdout == nil {
		r.Stdout = os.Stdout
	}
	if r.Stderr == nil {
		r.Stderr = os.Stderr
	}
}

// prepare does everything that needs no BuildKit, so that a mistake is told at once.
func prepare(r *Request) (_ *build, err error) {
	b := &build{request: r, sources: newSources()}
	defer func() {
		if err != nil {
			b.sources.close()
		}
	}()
	if info, err := os.Stat(r.Path); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Path, reason(err))
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder: name the folder with the firmware's sources", r.Path)
	}
	if b.options, err = r.options(); err != nil {
		return nil, err
	}
	if b.outputs, err = r.parseOutputs(b.options); err != nil {
		return nil, err
	}
	if b.extra, err = parseAnnotations(r.Annotations, b.options.platform); err != nil {
		return nil, err
	}
	if b.dockerfile, err = r.dockerfile(); err != nil {
		return nil, err
	}
	b.claims = append(b.claims,
		image.Claim{Where: "--board/--mcu", Target: r.Target},
		image.Claim{Where: "--annotation", Target: b.extra.takeTarget()})
	for _, out := range b.outputs {
		b.claims = append(b.claims, image.Claim{Where: "--output", Target: out.target})
	}
	b.claims = append(b.claims, image.Claim{Where: "--label", Target: image.TargetOf(b.options.labels)})
	for key := range keyed(image.TargetOf(b.options.labels)) {
		delete(b.options.labels, key) // else it would hide what the Dockerfile says
	}
	target, err := resolve(b.claims)
	if err != nil {
		return nil, err
	}
	if target == nil && b.dockerfile.ours {
		return nil, errNoTarget
	}
	if b.attrs, err = r.frontendAttrs(b.options, target); err != nil {
		return nil, err
	}
	return b, b.addSources()
}

func (b *build) addSources() error {
	r := b.request
	if err := b.sources.mount("context", r.Path); err != nil {
		return err
	}
	for _, c := range r.Contexts {
		if err := b.sources.add(c); err != nil {
			return err
		}
	}
	if !b.sources.has("sdk") {
		tree, err := sdk.Sources(r.sdk())
		if err != nil {
			return usageErrorf("--sdk: %w", err)
		}
		if err := b.sources.input("sdk", tree); err != nil {
			return err
		}
	}
	maps.Copy(b.attrs, b.sources.attrs)
	b.attrs["filename"] = b.dockerfile.name
	if b.dockerfile.folder == "" {
		b.sources.inputs["dockerfile"] = single(b.dockerfile.name, b.dockerfile.text)
		return nil
	}
	return b.sources.mount("dockerfile", b.dockerfile.folder)
}

// run solves, verifies and exports on bk.
func (b *build) run(ctx context.Context, bk *buildkit.BuildKit) (_ *Result, err error) {
	var destinations []*destination
	done := false
	defer func() {
		for _, d := range destinations {
			if !done {
				d.abort()
			}
		}
	}()
	opt := client.SolveOpt{
		FrontendAttrs: b.attrs,
		LocalMounts:   b.sources.mounts,
		OCIStores:     b.sources.stores,
		SharedKey:     sharedKey(b.request.Path),
		Session:       b.options.session,
		CacheImports:  b.options.cacheFrom,
		CacheExports:  b.options.cacheTo,

		AllowedEntitlements: b.options.allowed,
	}
	for _, out := range b.outputs {
		if out.kind == typeImage && bk.Embedded && !out.is(keyPush) {
			return nil, errors.New("type=image without push=true: the embedded BuildKit has no image store; " +
				"use push=true, or type=oci or type=docker with dest=FILE")
		}
		d, err := b.request.open(ctx, out)
		if err != nil {
			return nil, err
		}
		destinations = append(destinations, d)
		opt.Exports = append(opt.Exports, d.entry)
	}

	response, err := b.solve(ctx, bk, opt)
	if err != nil {
		return nil, err
	}
	for _, d := range destinations {
		if err := d.commit(); err != nil {
			return nil, err
		}
	}
	done = true
	for _, w := range b.warnings {
		fmt.Fprintf(b.request.Stderr, "warning: %s\n", w)
	}
	if len(destinations) == 0 {
		fmt.Fprintln(b.request.Stderr, "warning: nothing was exported: name the image with --tag, or say where it goes with --output")
	}
	for _, d := range destinations {
		if d.note != "" {
			fmt.Fprintln(b.request.Stderr, d.note)
		}
	}
	result := &Result{Target: b.target.Target, Response: response}
	return result, b.request.writeFiles(result)
}

// gateway is the build as BuildKit sees it: the Dockerfile's result, verified and
// with its target.
func (b *build) gateway(ctx context.Context, gw gateway.Client) (_ *gateway.Result, err error) {
	defer func() { b.failed = err }()
	inputs := map[string]*pb.Definition{}
	for name, state := range b.sources.inputs {
		def, err := state.Marshal(ctx)
		if err != nil {
			return nil, fmt.Errorf("context %s: %w", name, err)
		}
		inputs[name] = def.ToPB()
	}
	result, err := gw.Solve(ctx, gateway.SolveRequest{
		Frontend:       frontend,
		FrontendOpt:    b.attrs,
		FrontendInputs: inputs,
		Evaluate:       true,
	})
	if err != nil {
		return nil, err
	}
	return result, b.finish(ctx, result)
}

// finish verifies a result and writes the target into it.
func (b *build) finish(ctx context.Context, result *gateway.Result) error {
	root, err := result.SingleRef()
	if err != nil {
		return err
	}
	if root == nil {
		return fmt.Errorf("%s: the image is empty: its last stage copies nothing", b.dockerfile.name)
	}
	img := &dockerspec.DockerOCIImage{}
	if err := json.Unmarshal(result.Metadata[exptypes.ExporterImageConfigKey], img); err != nil {
		return fmt.Errorf("%s: image config from BuildKit: %w", b.dockerfile.name, err)
	}
	if b.dockerfile.ours {
		program, err := onlyProgram(ctx, root)
		if err != nil {
			return err
		}
		img.Config.Entrypoint, img.Config.Cmd = []string{program}, nil
	}
	if b.target, err = resolve(append(b.claims, claimsOf(img, b.dockerfile.name)...)); err != nil {
		return err
	}
	if b.target == nil {
		return errNoTarget
	}
	v := &verification{root: root, config: img, dockerfile: b.dockerfile, core: b.target.core}
	if b.warnings, err = v.verify(ctx); err != nil {
		return err
	}
	setTarget(img, b.target.Target)
	text, err := json.Marshal(img)
	if err != nil {
		return fmt.Errorf("image config: %w", err)
	}
	result.AddMeta(exptypes.ExporterImageConfigKey, text)
	for key, value := range b.extra {
		result.AddMeta(key, []byte(value))
	}
	for key, value := range keyed(b.target.Target) {
		result.AddMeta(exptypes.AnnotationManifestKey(nil, key), []byte(value))
	}
	return nil
}
