package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	fstypes "github.com/tonistiigi/fsutil/types"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// locate has BuildKit fetch a context that is not on this machine, and finds the
// Dockerfile that it is built with. What is fetched stays in the cache for the build
// that follows.
func (b *build) locate(ctx context.Context, bk *buildkit.BuildKit, show *progress) error {
	if b.dockerfile != nil {
		return nil
	}
	opt, url := b.solveOpt(b.variants[0])
	opt.Internal = true // no record in the history
	opt.CacheImports, opt.CacheExports = nil, nil
	_, err := show.build(ctx, bk, "", opt, func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
		f, err := fetch(ctx, gw, url, b.options.buildArgs)
		if err != nil {
			return nil, err
		}
		b.dockerfile, err = b.request.fetchedDockerfile(ctx, f)
		return gateway.NewResult(), err
	})
	if err != nil {
		return err
	}
	return b.addDockerfile()
}

// fetchedDockerfile is the Dockerfile of a context that BuildKit has fetched: the one
// that --file names in it, else its Dockerfile, else that of the SDK that its files
// want.
func (r *Request) fetchedDockerfile(ctx context.Context, f *fetched) (*dockerfile, error) {
	if f.dockerfile != nil {
		return &dockerfile{name: dockerui.DefaultDockerfileName, text: f.dockerfile}, nil
	}
	name := r.Dockerfile
	if name == "" {
		name = dockerui.DefaultDockerfileName
	}
	text, err := readFile(ctx, f.root, name)
	var missing *missingError
	switch {
	case err == nil:
		return &dockerfile{name: path.Base(name), text: text}, nil
	case errors.As(err, &missing) && r.Dockerfile == "":
		wanted, err := r.detectSDK(r.Path, fetchedTree{ctx, f.root})
		if err != nil {
			return nil, err
		}
		return sdkDockerfile(wanted)
	case errors.As(err, &missing):
		return nil, fmt.Errorf("%s holds no %s", r.Path, name)
	}
	return nil, fmt.Errorf("%s in %s: %w", name, r.Path, err)
}

// fetchedTree is a file system of BuildKit's, to look for the files that tell an SDK.
type fetchedTree struct {
	ctx  context.Context //nolint:containedctx // fs.FS has no place for one
	root rootFS
}

// Open implements fs.FS for regular files.
func (t fetchedTree) Open(name string) (fs.File, error) {
	info, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	text, err := readFile(t.ctx, t.root, path.Join("/", name))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openFile{info: info, text: text}, nil
}

// Stat implements fs.StatFS.
func (t fetchedTree) Stat(name string) (fs.FileInfo, error) {
	s, err := t.root.StatFile(t.ctx, gateway.StatRequest{Path: path.Join("/", name)})
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: missingAs(err)}
	}
	return entry{s}, nil
}

// ReadDir implements fs.ReadDirFS.
func (t fetchedTree) ReadDir(name string) ([]fs.DirEntry, error) {
	stats, err := t.root.ReadDir(t.ctx, gateway.ReadDirRequest{Path: path.Join("/", name)})
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: missingAs(err)}
	}
	var entries []fs.DirEntry
	for _, s := range stats {
		entries = append(entries, fs.FileInfoToDirEntry(entry{s}))
	}
	return entries, nil
}

// missingAs is fs.ErrNotExist for what BuildKit does not find.
func missingAs(err error) error {
	if isMissing(err) {
		return fs.ErrNotExist
	}
	return err
}

// entry is BuildKit's word on a file.
type entry struct{ *fstypes.Stat }

func (e entry) Name() string       { return path.Base(e.Path) }
func (e entry) Size() int64        { return e.Stat.Size }
func (e entry) Mode() fs.FileMode  { return fs.FileMode(e.Stat.Mode) }
func (e entry) ModTime() time.Time { return time.Unix(0, e.Stat.ModTime) }
func (e entry) Sys() any           { return e.Stat }

// openFile is a file that was read as a whole.
type openFile struct {
	info fs.FileInfo
	text []byte
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

func (f *openFile) Read(p []byte) (int, error) {
	if len(f.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.text)
	f.text = f.text[n:]
	return n, nil
}
