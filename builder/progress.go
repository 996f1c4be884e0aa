package builder

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/util/progress/progressui"
	"google.golang.org/grpc/codes"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// progress shows what one or several solves do, on one display.
type progress struct {
	statuses chan *client.SolveStatus
	ended    chan error
	kept     *bytes.Buffer // what a quiet display would have shown
	out      io.Writer
}

// showsProgress reports whether the progress is text for people.
func (r *Request) showsProgress() bool {
	mode := progressui.DisplayMode(r.Progress)
	return mode != progressui.QuietMode && mode != progressui.RawJSONMode
}

// show starts the display of a build; end must follow.
func (b *build) show(ctx context.Context) (*progress, error) {
	p := &progress{statuses: make(chan *client.SolveStatus), ended: make(chan error, 1), out: b.request.Stderr}
	out, mode := b.request.Stderr, b.options.progress
	if mode == progressui.QuietMode {
		// a step that fails must be able to say why
		p.kept = &bytes.Buffer{}
		out, mode = p.kept, progressui.PlainMode
	}
	display, err := progressui.NewDisplay(out, mode)
	if err != nil {
		return nil, usageErrorf("--progress=%s: %w", mode, err)
	}
	go func() {
		// not ctx: after a cancel, what ended must be shown too; end closes the channel
		_, err := display.UpdateFrom(context.WithoutCancel(ctx), p.statuses)
		for range p.statuses { // a display that cannot write must not hold the build up
		}
		p.ended <- err
	}()
	return p, nil
}

// end ends the display, and shows what was kept if the build ended with err, which
// it returns.
func (p *progress) end(ctx context.Context, err error) error {
	close(p.statuses)
	shown := <-p.ended
	if err == nil {
		return shown
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if p.kept != nil && len(errdefs.Sources(err)) > 0 {
		_, _ = p.kept.WriteTo(p.out)
	}
	return err
}

// build solves with build as the gateway function. With a name the steps are shown
// under it: there are others.
func (p *progress) build(ctx context.Context, bk *buildkit.BuildKit, name string, opt client.SolveOpt, build gateway.BuildFunc) (map[string]string, error) {
	statuses := make(chan *client.SolveStatus)
	var forwarded sync.WaitGroup
	forwarded.Go(func() {
		for s := range statuses { // Build closes it
			if name != "" {
				prefix(s, name)
			}
			p.statuses <- s
		}
	})
	var failed error // why the function failed, before it lost its types on the wire
	response, err := bk.Build(ctx, opt, "hybrid", func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
		var result *gateway.Result
		result, failed = build(ctx, gw)
		return result, failed
	}, statuses)
	forwarded.Wait()
	if err == nil {
		return response.ExporterResponse, nil
	}
	if failed != nil {
		err = failed
	}
	if grpcerrors.Code(err) == codes.Unavailable && bk.Kind != buildkit.Embedded {
		err = fmt.Errorf("the BuildKit at %s is gone, start it and build again: %w", bk.Address, err)
	}
	err = &plainError{err}
	if failed != nil && name != "" {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return nil, err
}

// plainError is an error without the words of the wire that it came over.
type plainError struct{ err error }

var wireWords = regexp.MustCompile(`rpc error: code = \w+ desc = |failed to solve: |failed to (?:compute cache key|load cache key|calculate checksum of ref \S+): |\b(?:ResourceExhausted|Unavailable|Unknown): `)

func (e *plainError) Error() string { return wireWords.ReplaceAllString(e.err.Error(), "") }
func (e *plainError) Unwrap() error { return e.err }

// prefix puts name in front of the names of steps: [build 1/2] becomes
// [imx8m-mini/cortex-m4 build 1/2], as buildx does with platforms.
func prefix(s *client.SolveStatus, name string) {
	for _, v := range s.Vertexes {
		if rest, ok := strings.CutPrefix(v.Name, "["); ok {
			v.Name = "[" + name + " " + rest
		} else {
			v.Name = "[" + name + "] " + v.Name
		}
	}
}
