package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxIndex bounds the index of an OCI layout, in bytes.
const maxIndex = 4 << 20

// layout is an OCI layout of this machine that a build reads. It is a content store
// that nothing is written to: containerd's own makes folders in what it opens, and
// BuildKit's index takes a lock there, so that neither could be used by two builds at
// once, by another user, or on a file system that is mounted to be read.
type layout struct {
	name string
	root *os.Root
}

func openLayout(name string) (*layout, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not a folder with an OCI layout: %w", name, reason(err))
	}
	l := &layout{name: name, root: root}
	switch info, err := root.Stat(v1.ImageLayoutFile); {
	case err != nil:
		err = fmt.Errorf("%s is not a folder with an OCI layout: %w", name, reason(err))
		return nil, errors.Join(err, root.Close())
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a folder with an OCI layout: %s is not a file", name, v1.ImageLayoutFile)
		return nil, errors.Join(err, root.Close())
	}
	return l, nil
}

// digest finds an image: by its tag, else the only one, else the one tagged latest.
func (l *layout) digest(tag string) (digest.Digest, error) {
	text, err := l.read(v1.ImageIndexFile)
	if err != nil {
		return "", fmt.Errorf("OCI layout %s: %s: %w", l.name, v1.ImageIndexFile, reason(err))
	}
	var index v1.Index
	if err := json.Unmarshal(text, &index); err != nil {
		return "", fmt.Errorf("OCI layout %s: %s: %w", l.name, v1.ImageIndexFile, err)
	}
	if tag == "" && len(index.Manifests) == 1 {
		return index.Manifests[0].Digest, nil
	}
	if tag == "" {
		tag = "latest"
	}
	for _, m := range index.Manifests {
		if m.Annotations[v1.AnnotationRefName] == tag || m.Annotations[images.AnnotationImageName] == tag {
			return m.Digest, nil
		}
	}
	return "", fmt.Errorf("OCI layout %s has no image %q: add :TAG or @DIGEST", l.name, tag)
}

func (l *layout) read(name string) ([]byte, error) {
	f, err := l.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if len(text) > maxIndex {
		return nil, fmt.Errorf("more than %d bytes", maxIndex)
	}
	return text, err
}

// Close ends the use of the layout.
func (l *layout) Close() error { return l.root.Close() }

// open opens a blob. One that is not there is an error that errdefs calls not found.
func (l *layout) open(d digest.Digest) (*os.File, fs.FileInfo, error) {
	if err := d.Validate(); err != nil {
		return nil, nil, fmt.Errorf("digest %q: %w: %w", d, err, errdefs.ErrInvalidArgument)
	}
	f, err := l.root.Open(path.Join(v1.ImageBlobsDir, d.Algorithm().String(), d.Encoded()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("OCI layout %s has no blob %s: %w", l.name, d, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Info implements content.InfoProvider.
func (l *layout) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	f, info, err := l.open(d)
	if err != nil {
		return content.Info{}, err
	}
	defer f.Close()
	return content.Info{Digest: d, Size: info.Size(), CreatedAt: info.ModTime(), UpdatedAt: info.ModTime()}, nil
}

// ReaderAt implements content.Provider.
func (l *layout) ReaderAt(_ context.Context, desc v1.Descriptor) (content.ReaderAt, error) {
	f, info, err := l.open(desc.Digest)
	if err != nil {
		return nil, err
	}
	return &blob{f, info.Size()}, nil
}

// blob is an open blob.
type blob struct {
	*os.File
	size int64
}

func (b *blob) Size() int64 { return b.size }

// errReadOnly is the answer to what a build has no reason to ask.
var errReadOnly = fmt.Errorf("an OCI layout is only read: %w", errdefs.ErrNotImplemented)

// The rest of content.Store.

func (l *layout) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errReadOnly
}

func (l *layout) Walk(context.Context, content.WalkFunc, ...string) error { return errReadOnly }
func (l *layout) Delete(context.Context, digest.Digest) error             { return errReadOnly }
func (l *layout) Abort(context.Context, string) error                     { return errReadOnly }

func (l *layout) Status(context.Context, string) (content.Status, error) {
	return content.Status{}, errReadOnly
}

func (l *layout) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	return nil, errReadOnly
}

func (l *layout) Writer(context.Context, ...content.WriterOpt) (content.Writer, error) {
	return nil, errReadOnly
}
