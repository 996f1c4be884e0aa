package builder

import (
	"context"
	"errors"
	"io"
	"maps"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// typeMoby is the exporter with which a Docker Engine keeps an image that it built.
const typeMoby = "moby"

// inPlace is the entry of an image that stays in the Docker Engine that builds it.
func inPlace(entry client.ExportEntry) client.ExportEntry {
	attrs := maps.Clone(entry.Attrs)
	if attrs[string(exptypes.OptKeyRewriteTimestamp)] == "true" {
		// unpacked is what was built: it has other digests than the rewritten layer
		attrs[string(exptypes.OptKeyUnpack)] = "false"
	}
	return client.ExportEntry{Type: typeMoby, Attrs: attrs}
}

// forDocker reports whether a Docker Engine may take the output.
func (o *output) forDocker() bool {
	return o.kind == typeDocker && o.dest == "" && (o.load == "" || o.load == loadAny || o.load == "docker")
}

// toDocker loads the archive into a Docker Engine while it is written.
func (d *destination) toDocker(ctx context.Context, engine *buildkit.Engine) {
	ctx, cancel := context.WithCancel(ctx)
	archive, pipe := io.Pipe()
	type loaded struct {
		said string
		err  error
	}
	done := make(chan loaded, 1)
	started := false
	d.entry.Output = func(map[string]string) (io.WriteCloser, error) {
		started = true
		go func() {
			said, err := engine.Load(ctx, archive)
			_ = archive.CloseWithError(err) // else who writes waits for ever
			done <- loaded{said, err}
		}()
		return pipe, nil
	}
	d.commit = func() error {
		defer cancel()
		if !started {
			return errors.New("load into Docker: BuildKit sent nothing")
		}
		l := <-done
		d.note = l.said
		return l.err
	}
	d.abort = cancel
}
