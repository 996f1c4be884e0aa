package builder

import (
	"context"
	"errors"
	"io"
	"maps"
	"sync/atomic"
	"time"

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

// keptBy finds fault with an output that stays with the BuildKit, if that keeps none.
func (o *output) keptBy(ctx context.Context, bk *buildkit.BuildKit) error {
	switch {
	case o.kind == typeMoby && bk.Kind != buildkit.Docker:
		return errors.New("type=moby: only a Docker Engine that builds has that store, and " + bk.String() + " builds; use type=docker")
	case o.kind != typeImage || o.is(keyPush):
		return nil
	}
	keeps, err := bk.HasImageStore(ctx)
	if err != nil || keeps {
		return err
	}
	return errors.New("type=image without push=true: " + bk.String() + " has no image store; " +
		"use push=true, --load, or type=oci or type=docker with dest=FILE")
}

// forDocker reports whether a Docker Engine may take the output.
func (o *output) forDocker() bool {
	return o.kind == typeDocker && o.dest == "" && (o.load == "" || o.load == loadAny || o.load == dockerEngine)
}

// toDocker loads the archive into a Docker Engine while it is written.
func (d *destination) toDocker(ctx context.Context, engine *buildkit.Engine) {
	ctx, cancel := context.WithCancel(ctx)
	archive, pipe := io.Pipe()
	started := false
	var broken atomic.Bool
	var said string
	var failed error
	done := make(chan struct{}) // said and failed are known
	d.entry.Output = func(map[string]string) (io.WriteCloser, error) {
		started = true
		go func() {
			defer close(done)
			said, failed = engine.Load(ctx, archive)
			_ = archive.CloseWithError(failed) // else who writes waits for ever
		}()
		return &engineWriter{pipe, &broken}, nil
	}
	d.ownError = func() error {
		if !broken.Load() {
			return nil
		}
		timer := time.AfterFunc(pipesClose, cancel) // for an engine that then says nothing
		defer timer.Stop()
		<-done
		return failed
	}
	d.mayFail = true
	d.commit = func() error {
		defer cancel()
		if !started {
			return errors.New("load into Docker: BuildKit sent nothing")
		}
		<-done
		d.note = said
		return failed
	}
	d.abort = func() {
		cancel()
		if started {
			_ = pipe.CloseWithError(context.Canceled) // the engine drops what is not complete
			<-done
		}
	}
}

// closes ends the connection to an engine that only the destination uses.
func (d *destination) closes(engine *buildkit.Engine) {
	commit, abort := d.commit, d.abort
	d.commit = func() error {
		defer engine.Close()
		return commit()
	}
	d.abort = func() {
		defer engine.Close()
		abort()
	}
}
