package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/containerd/console"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// destination is where one exporter writes. Nothing can be seen there before
// commit; without it, abort leaves nothing behind.
type destination struct {
	entry  client.ExportEntry
	note   string // for the user, once committed
	commit func() error
	abort  func()
	// ownError is why an export could not go on, if that was for the destination's
	// sake; BuildKit knows of a broken pipe alone.
	ownError func() error
	mayFail  bool // commit may, with reasons of others: it comes before those that may not
}

// open prepares where out goes.
func (r *Request) open(ctx context.Context, out *output, bk *buildkit.BuildKit) (*destination, error) {
	d := &destination{
		entry:  client.ExportEntry{Type: out.kind, Attrs: out.exporterAttrs()},
		commit: func() error { return nil },
		abort:  func() {},

		ownError: func() error { return nil },
	}
	switch {
	case out.kind == typeMoby:
		d.entry = inPlace(d.entry)
		return d, nil
	case out.kind == typeImage, out.kind == typeCacheOnly:
		return d, nil
	case out.folder:
		return d, d.toFolder(out.dest)
	case out.dest != "" && out.dest != toStdout:
		return d, d.toFile(out.dest)
	case out.forDocker() && bk.Engine != nil:
		if bk.Kind == buildkit.Docker && !r.makesIndex() {
			d.entry = inPlace(d.entry)
			return d, nil
		}
		if err := r.dockerTakes(ctx, bk.Engine, out); err != nil {
			return nil, err
		}
		d.toDocker(ctx, bk.Engine)
		return d, nil
	case out.load != "":
		if err := r.loadInto(ctx, d, out, out.load); err != nil {
			return nil, err
		}
		return d, nil
	case out.kind == typeDocker && out.dest == "":
		err := r.loadInto(ctx, d, out, dockerEngine)
		var none *noEngineError
		if !errors.As(err, &none) {
			return d, err
		}
		file := archiveName(out.attrs[keyName], r.Path)
		d.note = fmt.Sprintf("no Docker Engine answers: the image is in %s (docker load -i %s)", file, file)
		return d, d.toFile(file)
	}
	if f, ok := r.Stdout.(console.File); ok {
		if _, err := console.ConsoleFromFile(f); err == nil {
			return nil, usageErrorf("type=%s goes to standard output, which is a terminal: add dest=FILE", out.kind)
		}
	}
	d.entry.Output = func(map[string]string) (io.WriteCloser, error) { return unclosable{r.Stdout}, nil }
	return d, nil
}

// exporterAttrs are what BuildKit's exporter is told.
func (o *output) exporterAttrs() map[string]string {
	attrs := map[string]string{}
	for k, v := range o.attrs {
		attrs[k] = v
	}
	if o.isImage() {
		for k, v := range o.annotations {
			attrs[k] = v
		}
	}
	return attrs
}

// toFile writes a file.
func (d *destination) toFile(name string) error {
	to, err := placeOf("dest=", name)
	if err != nil {
		return err
	}
	d.entry.Output = func(map[string]string) (io.WriteCloser, error) { return to.create() }
	d.commit, d.abort = to.commit, to.abort
	return nil
}

// toFolder writes into a folder. A new one is written beside and renamed; one that
// is there is added to, as an OCI layout and local files may be.
func (d *destination) toFolder(name string) error {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("dest=%s is not a folder", name)
	case err == nil:
		d.entry.OutputDir = name
		d.commit = func() error { removeIngest(name); return nil }
		d.abort = func() { removeIngest(name) }
		return nil
	}
	parent := filepath.Dir(filepath.Clean(name))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return fmt.Errorf("dest=%s: %w", name, reason(err))
	}
	temporary := besides(name)
	// BuildKit's client would make it for this user's eyes alone
	if err := os.Mkdir(temporary, 0o777); err != nil {
		return fmt.Errorf("dest=%s: %w", name, reason(err))
	}
	d.entry.OutputDir = temporary
	d.commit = func() error { removeIngest(temporary); return os.Rename(temporary, name) }
	d.abort = func() { _ = os.RemoveAll(temporary) }
	return nil
}

// removeIngest removes the folder for unfinished blobs that writing an OCI layout
// leaves in it, unless somebody else's are there.
func removeIngest(layout string) {
	_ = os.Remove(filepath.Join(layout, "ingest"))
}

// besides is a name in the same folder, hidden and of this process alone.
func besides(name string) string {
	dir, base := filepath.Split(filepath.Clean(name))
	return filepath.Join(dir, fmt.Sprintf(".%s.%d", base, os.Getpid()))
}

// archiveName is the file for an image that nobody takes: the last word of its
// name, or of the project's folder.
func archiveName(imageName, project string) string {
	first, _, _ := strings.Cut(imageName, ",")
	if named, err := reference.ParseNormalizedNamed(first); err == nil {
		return path.Base(reference.Path(named)) + ".tar"
	}
	if abs, err := filepath.Abs(project); err == nil && filepath.Base(abs) != string(filepath.Separator) {
		return filepath.Base(abs) + ".tar"
	}
	return "image.tar"
}

// unclosable keeps the exporter from closing what it does not own.
type unclosable struct{ io.Writer }

func (unclosable) Close() error { return nil }
