package builder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
	"github.com/hybrid-containers/hybrid/image"
)

// Result says what was built.
type Result struct {
	Targets []image.Target // as they stand in the image, in the order of the request
	// Response is what BuildKit's exporters say: containerimage.digest and others.
	Response map[string]string

	inDocker bool // an engine with the containerd image store built it
}

// ID is what Docker calls the image's ID: the digest of its config, or with the
// containerd image store that of its manifest or index; empty if nothing was made
// into an image.
func (r *Result) ID() string {
	if id := r.Response[exptypes.ExporterImageConfigDigestKey]; id != "" && !r.inDocker {
		return id
	}
	return r.Response[exptypes.ExporterImageDigestKey]
}

// build is one build in progress.
type build struct {
	request    *Request
	options    *options
	outputs    []*output
	origin     *origin
	dockerfile *dockerfile // nil until locate where BuildKit has to fetch the context
	sources    *sources
	extra      annotations // of --annotation, without the target
	policy     policy      // of --check
	variants   []*variant  // at least one
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
	defer b.close()

	bk, done, err := open(r.announced())
	if err != nil {
		return nil, err
	}
	if b.options.call.request != "" {
		return &Result{}, errors.Join(b.ask(ctx, bk), done())
	}
	result, err := b.run(ctx, bk)
	return result, errors.Join(err, done())
}

// announced are the options for a BuildKit that says which one it is, and what it waits
// for.
func (r *Request) announced() buildkit.Options {
	o := r.BuildKit
	o.Waiting = func(dir string) {
		fmt.Fprintf(r.Stderr, "another build uses %s, waiting for it to end\n", dir)
	}
	if r.showsProgress() {
		o.Chosen = func(line string) { fmt.Fprintln(r.Stderr, line) }
	}
	return o
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

func (b *build) close() {
	b.sources.close()
	if b.origin != nil {
		b.origin.close()
	}
}

// prepare does everything that needs no BuildKit, so that a mistake is told at once.
func prepare(r *Request) (_ *build, err error) {
	b := &build{request: r, sources: newSources()}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err := r.fill(); err != nil {
		return nil, err
	}
	if err := r.BuildKit.Check(); err != nil {
		return nil, usageErrorf("--builder: %w", err)
	}
	if b.options, err = r.options(); err != nil {
		return nil, err
	}
	if b.origin, err = r.origin(); err != nil {
		return nil, err
	}
	if b.outputs, err = r.parseOutputs(b.options); err != nil {
		return nil, err
	}
	if err := r.checkFiles(); err != nil {
		return nil, err
	}
	if b.policy, err = parsePolicy(r.Check); err != nil {
		return nil, err
	}
	if b.extra, err = parseAnnotations(r.Annotations, b.options.form); err != nil {
		return nil, err
	}
	if b.dockerfile, err = r.dockerfile(b.origin); err != nil {
		return nil, err
	}
	if b.variants, err = r.variants(b.said()); err != nil {
		return nil, err
	}
	for _, v := range b.variants {
		if v.attrs, err = r.frontendAttrs(b.options, v); err != nil {
			return nil, err
		}
	}
	if err := b.addContexts(); err != nil {
		return nil, err
	}
	if b.dockerfile == nil {
		return b, nil
	}
	return b, b.addDockerfile()
}

// said is what the request says of the target, but for --board, --mcu and
// --target-core.
func (b *build) said() []image.Claim {
	claims := []image.Claim{{Where: "--annotation", Target: b.extra.takeTarget()}}
	for _, out := range b.outputs {
		claims = append(claims, image.Claim{Where: "--output", Target: out.target})
	}
	labels := image.TargetOf(b.options.labels)
	for key := range keyed(labels) {
		delete(b.options.labels, key) // else it would hide what the Dockerfile says
	}
	return append(claims, image.Claim{Where: "--label", Target: labels})
}

// addContexts adds the build context and the named ones.
func (b *build) addContexts() error {
	switch {
	case b.origin.folder != "":
		if err := b.sources.mount("context", b.origin.folder); err != nil {
			return err
		}
	case b.origin.text != nil:
		if err := b.sources.mountEmpty("context"); err != nil {
			return err
		}
	}
	for _, c := range b.request.Contexts {
		if err := b.sources.add(c); err != nil {
			return err
		}
	}
	return nil
}

// addDockerfile adds the Dockerfile, once it is known, and what it needs of an SDK.
func (b *build) addDockerfile() error {
	for _, v := range b.variants {
		if v.target == nil && b.dockerfile.ours && b.options.call.request == "" {
			return errNoTarget
		}
	}
	if err := b.addSDK(); err != nil {
		return err
	}
	for _, v := range b.variants {
		maps.Copy(v.attrs, b.sources.attrs)
		v.attrs["filename"] = b.dockerfile.name
	}
	if b.dockerfile.folder != "" {
		return b.sources.mount("dockerfile", b.dockerfile.folder)
	}
	b.sources.inputs["dockerfile"] = single(b.dockerfile.name, b.dockerfile.text)
	return nil
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
	for _, out := range b.outputs {
		if err := out.keptBy(ctx, bk); err != nil {
			return nil, err
		}
		d, err := b.request.open(ctx, out, bk)
		if err != nil {
			return nil, err
		}
		destinations = append(destinations, d)
	}
	response, err := b.solve(ctx, bk, destinations)
	if err != nil {
		for _, d := range destinations {
			if own := d.ownError(); own != nil && ctx.Err() == nil {
				return nil, own
			}
		}
		return nil, err
	}
	if err := commit(destinations); err != nil {
		return nil, err
	}
	done = true
	b.report(destinations)
	result := &Result{Response: response, inDocker: bk.Kind == buildkit.Docker}
	for _, v := range b.variants {
		result.Targets = append(result.Targets, v.target.Target)
	}
	return result, b.request.writeFiles(result)
}

// commit commits all; those that may fail first, so that the others have left nothing
// then.
func commit(destinations []*destination) error {
	for _, mayFail := range []bool{true, false} {
		for _, d := range destinations {
			if d.mayFail != mayFail {
				continue
			}
			if err := d.commit(); err != nil {
				return err
			}
		}
	}
	return nil
}

// solve makes one image, or an index of images if there are several targets that
// are not packed.
func (b *build) solve(ctx context.Context, bk *buildkit.BuildKit, destinations []*destination) (map[string]string, error) {
	show, err := b.show(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.locate(ctx, bk, show); err != nil {
		return nil, show.end(ctx, err)
	}
	var response map[string]string
	if b.request.makesIndex() {
		response, err = b.index(ctx, bk, show, destinations)
	} else {
		opt, url := b.solveOpt(b.variants[0])
		opt.Exports = entries(destinations)
		function := b.image(b.variants[0], url)
		if b.request.Pack {
			function = b.pack(url)
		}
		response, err = show.build(ctx, bk, "", opt, function)
	}
	return response, b.withHint(show.end(ctx, err))
}

// unresolved is how BuildKit says that it does not get at the compiler's base image.
var unresolved = regexp.MustCompile(`failed to resolve source metadata for docker\.io/library/debian:`)

// withHint adds the way out to what meets everybody who has no registry: the first
// stage of the SDKs' Dockerfiles is Debian's image.
func (b *build) withHint(err error) error {
	if err == nil || b.sources.has("toolchain") || !unresolved.MatchString(err.Error()) {
		return err
	}
	return fmt.Errorf("%w (without a registry: hybrid sdk base DIR, then --build-context toolchain=oci-layout://DIR)", err)
}

func entries(destinations []*destination) []client.ExportEntry {
	var all []client.ExportEntry
	for _, d := range destinations {
		if d.entry.Type != typeCacheOnly {
			all = append(all, d.entry)
		}
	}
	return all
}

// solveOpt is what BuildKit's client is told for one solve, but for the exports; url
// is the context if BuildKit has to fetch it.
func (b *build) solveOpt(v *variant) (_ client.SolveOpt, url string) {
	opt := client.SolveOpt{
		FrontendAttrs: maps.Clone(v.attrs), // the client adds its own
		LocalMounts:   b.sources.mounts,
		OCIStores:     b.sources.stores,
		SharedKey:     sharedKey(b.request.Path),
		Session:       b.options.session,
		CacheImports:  b.options.cacheFrom,
		CacheExports:  b.options.cacheTo,

		AllowedEntitlements: b.options.allowed,
	}
	url = b.origin.url
	if b.origin.spool != nil {
		offered, uploader := b.origin.upload()
		url, opt.Session = offered, append(opt.Session[:len(opt.Session):len(opt.Session)], uploader)
	}
	return opt, url
}

// report says what a user should know of a build that went well.
func (b *build) report(destinations []*destination) {
	for _, v := range b.variants {
		for _, w := range v.warnings {
			fmt.Fprintf(b.request.Stderr, "warning: %s\n", w)
		}
	}
	if len(destinations) == 0 {
		fmt.Fprintln(b.request.Stderr, "warning: nothing was exported: name the image with --tag, or say where it goes with --output")
	}
	for _, d := range destinations {
		if d.note != "" {
			fmt.Fprintln(b.request.Stderr, d.note)
		}
	}
}
