package builder

import (
	"bytes"
	"context"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/progress/progressui"
	"golang.org/x/sync/errgroup"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// solve runs the build and shows its progress.
func (b *build) solve(ctx context.Context, bk *buildkit.BuildKit, opt client.SolveOpt) (map[string]string, error) {
	out, mode := b.request.Stderr, b.options.progress
	var kept bytes.Buffer
	if mode == progressui.QuietMode {
		// a step that fails must be able to say why
		out, mode = &kept, progressui.PlainMode
	}
	display, err := progressui.NewDisplay(out, mode)
	if err != nil {
		return nil, usageErrorf("--progress=%s: %w", mode, err)
	}
	status := make(chan *client.SolveStatus)
	var response *client.SolveResponse
	var group errgroup.Group
	group.Go(func() (err error) {
		response, err = bk.Build(ctx, opt, "hybrid", b.gateway, status)
		return err
	})
	group.Go(func() error {
		// not ctx: after a cancel, what ended must be shown too; Build closes status
		_, err := display.UpdateFrom(context.WithoutCancel(ctx), status)
		return err
	})
	err = group.Wait()
	switch {
	case err == nil:
		return response.ExporterResponse, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case b.failed != nil:
		err = b.failed // the same error, before it lost its types on the wire
	}
	if len(errdefs.Sources(err)) > 0 {
		_, _ = kept.WriteTo(b.request.Stderr)
	}
	return nil, err
}
