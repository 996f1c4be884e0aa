package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/moby/buildkit/frontend/subrequests/outline"
	"github.com/moby/buildkit/frontend/subrequests/targets"
	"github.com/tonistiigi/go-csvvalue"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// call is a question to the front end instead of a build.
type call struct {
	request string // of the front end; "": build
	json    bool
}

// calls are the questions of --call and their names on the wire.
var calls = map[string]string{
	"build":   "",
	"check":   lint.RequestLint,
	"lint":    lint.RequestLint,
	"outline": outline.SubrequestsOutlineDefinition.Name,
	"targets": targets.RequestTargets,
}

// parseCall parses --call: NAME[,format=json].
func parseCall(flag string) (call, error) {
	if flag == "" {
		return call{}, nil
	}
	fields, err := csvvalue.Fields(flag, nil)
	if err != nil {
		return call{}, usageErrorf("--call %q: %w", flag, err)
	}
	request, ok := calls[fields[0]]
	if !ok {
		return call{}, usageErrorf("--call %s: want build, check, outline or targets", flag)
	}
	c := call{request: request}
	for _, field := range fields[1:] {
		switch field {
		case "format=json":
			c.json = true
		case "format=text":
		default:
			return call{}, usageErrorf("--call %s: want format=json or format=text, got %q", flag, field)
		}
	}
	return c, nil
}

// CheckError reports that --call=check has found something in the Dockerfile. What,
// is on standard output.
type CheckError struct {
	Dockerfile string
	Warnings   int
	Failed     string // why the Dockerfile cannot be built at all; empty if it can
}

func (e *CheckError) Error() string {
	switch {
	case e.Failed != "":
		return fmt.Sprintf("%s: %s", e.Dockerfile, e.Failed)
	case e.Warnings == 1:
		return e.Dockerfile + ": 1 warning has been found"
	}
	return fmt.Sprintf("%s: %d warnings have been found", e.Dockerfile, e.Warnings)
}

// ask asks the front end, and prints the answer.
func (b *build) ask(ctx context.Context, bk *buildkit.BuildKit) error {
	show, err := b.show(ctx)
	if err != nil {
		return err
	}
	if err := b.locate(ctx, bk, show); err != nil {
		return show.end(ctx, err)
	}
	v := b.variants[0]
	opt, url := b.solveOpt(v)
	opt.Internal = true
	var answer map[string][]byte
	_, err = show.build(ctx, bk, "", opt, func(ctx context.Context, gw client.Client) (*client.Result, error) {
		inputs, err := b.inputs(ctx, gw, url)
		if err != nil {
			return nil, err
		}
		attrs := maps.Clone(v.attrs)
		attrs["requestid"] = b.options.call.request
		attrs["frontend.caps"] = "moby.buildkit.frontend.subrequests"
		result, err := gw.Solve(ctx, client.SolveRequest{Frontend: frontend, FrontendOpt: attrs, FrontendInputs: inputs})
		if err != nil {
			return nil, err
		}
		answer = result.Metadata
		return client.NewResult(), nil
	})
	if err := show.end(ctx, err); err != nil {
		return err
	}
	return b.answer(answer)
}

func (b *build) answer(answer map[string][]byte) error {
	out := b.request.Stdout
	if b.options.call.json {
		fmt.Fprintln(out, strings.TrimSpace(string(answer["result.json"])))
	} else {
		fmt.Fprint(out, string(answer["result.txt"]))
	}
	if b.options.call.request != lint.RequestLint {
		return nil
	}
	var results lint.LintResults
	if err := json.Unmarshal(answer["result.json"], &results); err != nil {
		return fmt.Errorf("--call check: %w", err)
	}
	if results.Error != nil {
		return &CheckError{Dockerfile: b.dockerfile.name, Failed: results.Error.Message}
	}
	if n := len(results.Warnings); n > 0 {
		return &CheckError{Dockerfile: b.dockerfile.name, Warnings: n}
	}
	if !b.options.call.json {
		fmt.Fprintln(out, "Check complete, no warnings found.")
	}
	return nil
}
