package image

import (
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"syscall"
)

// Limits on what an untrusted layout can make us read.
const (
	maxJSON      = 4 << 20  // bytes of an index, a manifest or a config, as registries limit them
	maxAllJSON   = 16 << 20 // bytes of all of them: one blob may be a thousand manifests
	maxManifests = 1000     // manifests of a layout, nested indexes included
	maxDepth     = 4        // indexes in indexes
	maxLayers    = 500      // of an image; engines stop at 127
)

// Layout is an OCI image layout (image-spec, image-layout.md): a folder, or a tar
// archive of one. An archive that docker save wrote is taken too.
type Layout struct {
	path  string
	files files
	json  int64 // how much may still be read
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
	switch {
	case info.IsDir():
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		return &Layout{path: name, files: folder{root}}, nil
	case info.Mode().IsRegular():
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		return OpenArchive(f, name)
	}
	return nil, fmt.Errorf("image %s is neither a folder nor an archive", name)
}

// OpenArchive opens the layout in an open archive, which it takes also if it fails;
// name is what messages call it.
func OpenArchive(f *os.File, name string) (*Layout, error) {
	a, err := newArchive(f)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	return &Layout{path: name, files: a}, nil
}

// Close releases the layout; images of it cannot be read any more.
func (l *Layout) Close() error { return l.files.Close() }

func (l *Layout) has(name string) bool {
	f, _, err := l.files.open(name)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// nested lists the images of an index in an index.
func (l *Layout) nested(document []byte, depth int) ([]*Image, error) {
	if depth > maxDepth {
		return nil, limitErrorf("indexes nested deeper than %d", maxDepth)
	}
	var idx index
	if err := json.Unmarshal(document, &idx); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return l.images(idx, depth)
}

func (l *Layout) images(idx index, depth int) ([]*Image, error) {
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
			nested, err := l.nested(b, depth+1)
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
			if err := i.checkLayers(); err != nil {
				return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
			}
			images = append(images, i)
		}
		if len(images) > maxManifests {
			return nil, limitErrorf("more than %d manifests", maxManifests)
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
		return nil, limitErrorf("%s is %d bytes, more than %d is not a manifest", name, size, maxJSON)
	}
	if l.json -= size; l.json < 0 {
		return nil, limitErrorf("more than %d bytes of manifests and configs", maxAllJSON)
	}
	b, err := io.ReadAll(io.LimitReader(f, size))
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
