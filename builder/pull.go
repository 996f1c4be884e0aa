package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
	"github.com/hybrid-containers/hybrid/dockerfiles"
	"github.com/hybrid-containers/hybrid/sdk"
)

// Pull prepares an SDK for builds without network: the stages of its Dockerfile that
// a build starts from, each as an OCI layout in a folder of dest by the stage's
// name. An older one is replaced once the new one is complete. Of r it takes what
// those stages may need: SDK, SDKArchive, BuildArgs, Contexts, Secrets, NoCache,
// Progress and BuildKit.
func Pull(ctx context.Context, r Request, dest string) error {
	return pullOn(ctx, r, dest, func(o buildkit.Options) (*buildkit.BuildKit, func() error, error) {
		bk, err := buildkit.Open(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		return bk, bk.Close, nil
	})
}

func pullOn(ctx context.Context, r Request, dest string, open func(buildkit.Options) (*buildkit.BuildKit, func() error, error)) error {
	r.defaults()
	if err := sdk.Known(r.SDK); err != nil {
		return usageErrorf("%w", err)
	}
	if err := replaceablePull(dest, r.SDK); err != nil {
		return err
	}
	b, err := preparePull(&r)
	if err != nil {
		return err
	}
	defer b.close()

	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dest)), 0o777); err != nil {
		return err
	}
	temporary := besides(dest)
	defer os.RemoveAll(temporary)
	bk, done, err := open(r.announced())
	if err != nil {
		return err
	}
	if err := errors.Join(b.pull(ctx, bk, temporary), done()); err != nil {
		return err
	}
	if err := os.RemoveAll(dest); err != nil {
		return err
	}
	return os.Rename(temporary, dest)
}

// replaceablePull refuses to remove what is no SDK that was pulled.
func replaceablePull(dest, name string) error {
	entries, err := os.ReadDir(dest)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dest, sdk.Stages(name)[0], v1.ImageLayoutFile)); err != nil {
		return fmt.Errorf("%s is there and holds no SDK %s: name a new folder", dest, name)
	}
	return nil
}

func preparePull(r *Request) (_ *build, err error) {
	b := &build{request: r, sources: newSources(), variants: []*variant{{}}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.options, err = r.options(); err != nil {
		return nil, err
	}
	if b.dockerfile, err = sdkDockerfile(r.SDK); err != nil {
		return nil, err
	}
	v := b.variants[0]
	if v.attrs, err = r.frontendAttrs(b.options, v); err != nil {
		return nil, err
	}
	// for the builder itself: what is pulled runs there
	delete(v.attrs, "platform")
	if err := b.sources.mountEmpty("context"); err != nil {
		return nil, err
	}
	for _, c := range r.Contexts {
		if err := b.sources.add(c); err != nil {
			return nil, err
		}
	}
	if err := b.addArchive(r.SDK, true); err != nil {
		return nil, err
	}
	b.sources.inputs["dockerfile"] = single(b.dockerfile.name, b.dockerfile.text)
	return b, nil
}

// pull exports each stage into a folder of its own below folder.
func (b *build) pull(ctx context.Context, bk *buildkit.BuildKit, folder string) error {
	show, err := b.show(ctx)
	if err != nil {
		return err
	}
	for _, stage := range sdk.Stages(b.request.SDK) {
		if err = b.pullStage(ctx, bk, show, stage, filepath.Join(folder, stage)); err != nil {
			break
		}
	}
	return show.end(ctx, err)
}

func (b *build) pullStage(ctx context.Context, bk *buildkit.BuildKit, show *progress, stage, folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	defer removeIngest(folder)
	attrs := map[string]string{"target": stage, "filename": b.dockerfile.name}
	for _, more := range []map[string]string{b.variants[0].attrs, b.sources.attrs} {
		for k, v := range more {
			attrs[k] = v
		}
	}
	opt := client.SolveOpt{
		LocalMounts: b.sources.mounts,
		OCIStores:   b.sources.stores,
		Session:     b.options.session,
		Exports: []client.ExportEntry{{
			Type:      client.ExporterOCI,
			OutputDir: folder,
			Attrs:     map[string]string{"tar": "false", "compression": "zstd", "compression-level": "1", "rewrite-timestamp": "true"},
		}},
	}
	_, err := show.build(ctx, bk, "", opt, func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
		inputs, err := b.inputs(ctx, gw, "")
		if err != nil {
			return nil, err
		}
		return gw.Solve(ctx, gateway.SolveRequest{Frontend: frontend, FrontendOpt: attrs, FrontendInputs: inputs, Evaluate: true})
	})
	return err
}

// PullFolder is where hybrid build finds an SDK that was pulled.
func PullFolder(name string) (string, error) {
	if err := sdk.Known(name); err != nil {
		return "", usageErrorf("%w", err)
	}
	return sdk.PullFolder(name, dockerfiles.Version(name))
}
