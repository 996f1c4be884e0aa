package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// Limits on what an untrusted layout can make us read.
const (
	maxJSON      = 4 << 20 // bytes of an index, a manifest or a config, as registries limit them
	maxManifests = 1000    // manifests of a layout, nested indexes included
	maxDepth     = 4       // indexes in indexes
)

// Layout is an OCI image layout (image-spec, image-layout.md): a folder, or a tar
// archive of one. An archive that docker save or BuildKit's docker exporter wrote
// is one too, as it holds an index.json.
type Layout struct {
	path  string
	files files
}

// files gives access to the files of a layout by their slash-separated path.
type files interface {
	open(name string) (io.ReadCloser, int64, error)
	io.Closer
}

// Open opens the layout at name. The error says what the file is not.
func Open(name string) (*Layout, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	l := &Layout{path: name}
	switch {
	case info.IsDir():
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		l.files = folder{root}
	case info.Mode().IsRegular():
		if l.files, err = openArchive(name); err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
	default:
		return nil, fmt.Errorf("image %s is neither a folder nor an archive", name)
	}
	return l, nil
}

// Close releases the layout; images of it cannot be read any more.
func (l *Layout) Close() error { return l.files.Close() }

// Images lists the images of the layout in the order of its index; attestations
// are not images and are left out.
func (l *Layout) Images() ([]*Image, error) {
	b, err := l.read(indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("image %s holds no %s: want an OCI layout, as a folder or a tar archive", l.path, indexFile)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", l.path, err)
	}
	images, err := l.images(b, 0)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", l.path, err)
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("image %s: its index lists no image", l.path)
	}
	return images, nil
}

func (l *Layout) images(document []byte, depth int) ([]*Image, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("indexes nested deeper than %d", maxDepth)
	}
	var idx index
	if err := json.Unmarshal(document, &idx); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	var images []*Image
	for _, d := range idx.Manifests {
		if IsAttestation(d.Annotations) {
			continue
		}
		b, err := l.blob(d)
		if err != nil {
			return nil, err
		}
		switch d.MediaType {
		case mediaTypeIndex, mediaTypeDockerList:
			nested, err := l.images(b, depth+1)
			if err != nil {
				return nil, err
			}
			images = append(images, nested...)
		case mediaTypeManifest, mediaTypeDockerManifest:
			i := &Image{layout: l, Digest: d.Digest, Name: d.Annotations[keyContainerdName]}
			if err := json.Unmarshal(b, &i.Manifest); err != nil {
				return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
			}
			if b, err = l.blob(i.Manifest.Config); err != nil {
				return nil, fmt.Errorf("config of manifest %s: %w", d.Digest, err)
			}
			if err := json.Unmarshal(b, &i.Config); err != nil {
				return nil, fmt.Errorf("config of manifest %s: %w", d.Digest, err)
			}
			for _, l := range i.Manifest.Layers {
				i.layers = append(i.layers, layer{digest: l.Digest})
			}
			images = append(images, i)
		}
		if len(images) > maxManifests {
			return nil, fmt.Errorf("more than %d manifests", maxManifests)
		}
	}
	return images, nil
}

// IsAttestation reports whether the entry of an index with these annotations is no
// image but what BuildKit attests of one.
func IsAttestation(annotations map[string]string) bool {
	return annotations["vnd.docker.reference.type"] == "attestation-manifest"
}

// blob reads a JSON blob and verifies it.
func (l *Layout) blob(d Descriptor) ([]byte, error) {
	name, sum, err := blobPath(d.Digest)
	if err != nil {
		return nil, err
	}
	b, err := l.read(name)
	if err != nil {
		return nil, err
	}
	sum.Write(b)
	if !d.Digest.matches(sum) {
		return nil, damaged(d.Digest)
	}
	return b, nil
}

// blobPath is where a layout has a blob; what is written to sum must have its digest.
func blobPath(d Digest) (name string, sum hash.Hash, err error) {
	algorithm, encoded, sum, err := d.parse()
	return path.Join("blobs", algorithm, encoded), sum, err
}

func damaged(d Digest) error {
	return fmt.Errorf("blob %s is damaged: its content has another digest", d)
}

// read reads a JSON document.
func (l *Layout) read(name string) ([]byte, error) {
	f, size, err := l.files.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxJSON {
		return nil, fmt.Errorf("%s is %d bytes, more than %d is not a manifest", name, size, maxJSON)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxJSON))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// folder reads a layout folder. os.Root keeps symbolic links inside of it.
type folder struct{ root *os.Root }

func (f folder) Close() error { return f.root.Close() }

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // waits for no fifo's writer
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// archive reads a layout in a tar archive, by the offsets of its files.
type archive struct {
	file    *os.File
	entries map[string]struct{ offset, size int64 }
}

func openArchive(name string) (_ *archive, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	head := make([]byte, 6)
	n, _ := f.ReadAt(head, 0)
	if compression := compressionOf(head[:n]); compression != "" {
		return nil, fmt.Errorf("the archive is compressed, %s it first", map[string]string{"gzip": "gunzip", "zstd": "unzstd", "bzip2": "bunzip2", "xz": "unxz"}[compression])
	}
	a := &archive{file: f, entries: map[string]struct{ offset, size int64 }{}}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("neither an OCI layout nor an archive of one: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if len(a.entries) >= maxEntries {
			return nil, fmt.Errorf("more than %d files in the archive", maxEntries)
		}
		// tar.Reader reads block by block, so the file's position is where the content starts
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		a.entries[path.Clean(h.Name)] = struct{ offset, size int64 }{offset, h.Size}
	}
}

func (a *archive) Close() error { return a.file.Close() }

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	e, ok := a.entries[name]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(a.file, e.offset, e.size)), e.size, nil
}
