package image

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Entry is a file of an image.
type Entry struct {
	Name string // absolute
	Size int64
}

// Files lists the files of the image as a container would see them, in the order of
// the layers, and how many bytes each layer has without compression. The layers are
// verified.
func (i *Image) Files() (files []Entry, unpacked []int64, err error) {
	for n := range i.Manifest.Layers {
		size, err := i.walk(n, func(h *tar.Header) {
			name := path.Clean("/" + h.Name)
			rest := files[:0]
			for _, f := range files {
				hidden := hides(strings.TrimPrefix(name, "/"), strings.TrimPrefix(f.Name, "/"), strings.TrimPrefix(path.Join(path.Dir(f.Name), ".wh."+path.Base(f.Name)), "/"))
				if f.Name != name && !hidden {
					rest = append(rest, f)
				}
			}
			files = rest
			if h.Typeflag != tar.TypeDir && !strings.HasPrefix(path.Base(name), ".wh.") {
				files = append(files, Entry{name, h.Size})
			}
		})
		if err != nil {
			return nil, nil, fmt.Errorf("layer %d of %d: %w", n+1, len(i.Manifest.Layers), err)
		}
		unpacked = append(unpacked, size)
	}
	return files, unpacked, nil
}

// walk reads layer n.
func (i *Image) walk(n int, visit func(*tar.Header)) (unpacked int64, err error) {
	d := i.Manifest.Layers[n].Digest
	name, sum, err := blobPath(d)
	if err != nil {
		return 0, err
	}
	blob, _, err := i.layout.files.open(name)
	if err != nil {
		return 0, err
	}
	defer blob.Close()
	raw := bufio.NewReader(io.TeeReader(blob, sum))
	content, err := decompress(raw, i.layout.Zstd)
	if err != nil {
		return 0, err
	}
	limited := &io.LimitedReader{R: content, N: maxLayer}
	r := tar.NewReader(limited)
	for entries := 0; ; entries++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("not a tar archive: %w", err)
		}
		if entries >= maxWalk {
			return 0, fmt.Errorf("more than %d files: not a firmware image", maxWalk)
		}
		visit(h)
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return 0, err
	}
	if limited.N <= 0 {
		return 0, fmt.Errorf("more than %d bytes", int64(maxLayer))
	}
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return 0, err
	}
	if !d.matches(sum) {
		return 0, damaged(d)
	}
	return maxLayer - limited.N, nil
}

// maxWalk bounds how many files of an image are listed: one is what it should have.
const maxWalk = 2000
