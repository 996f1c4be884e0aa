package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// archive reads a layout in a tar archive, by the offsets of its files.
type archive struct {
	file    *os.File
	entries map[string]member
}

// member is a file of an archive, or a link: docker save of old Docker writes a layer
// that two images share once.
type member struct {
	offset, size int64
	link         string // what it is a link to, a path of the archive
}

// newArchive takes f, also if it fails.
func newArchive(f *os.File) (_ *archive, err error) {
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
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	a := &archive{file: f, entries: map[string]member{}}
	for r, n := tar.NewReader(f), 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("neither an OCI layout nor an archive of an image: %w", err)
		}
		if n >= maxEntries {
			return nil, limitErrorf("more than %d files in the archive", maxEntries)
		}
		if len(h.Name) > maxPath || len(h.Linkname) > maxPath {
			continue // nothing of an image
		}
		name := inside("", h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			// tar.Reader reads block by block, so the file's position is where the content starts
			offset, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			a.entries[name] = member{offset: offset, size: h.Size}
		case tar.TypeLink:
			a.entries[name] = member{link: inside("", h.Linkname)}
		case tar.TypeSymlink:
			a.entries[name] = member{link: inside(path.Dir(name), h.Linkname)}
		}
	}
}

// inside is a name of an archive without what leads out of it.
func inside(dir, name string) string {
	if path.IsAbs(name) {
		dir = ""
	}
	return path.Join("/", dir, name)[1:]
}

func (a *archive) Close() error { return a.file.Close() }

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	for range maxLinks {
		m, ok := a.entries[name]
		if !ok {
			return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		if m.link == "" {
			return io.NopCloser(io.NewSectionReader(a.file, m.offset, m.size)), m.size, nil
		}
		name = m.link
	}
	return nil, 0, &fs.PathError{Op: "open", Path: name, Err: errLoop}
}
