package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxLayer is how many bytes of one layer, uncompressed, are read in search of
// the firmware: more is a decompression bomb.
const maxLayer = 1 << 30

// Image is one image of a layout.
type Image struct {
	layout *Layout

	Digest   Digest // of the manifest
	Name     string // as the engine that wrote the layout called it; may be empty
	Manifest Manifest
	Config   Config
}

// Target is what the image says it is for: manifest annotations, labels and
// environment, which must agree.
func (i *Image) Target() (Target, error) {
	return Resolve(nil,
		Claim{"the manifest's annotations", TargetOf(i.Manifest.Annotations)},
		Claim{"the image's labels", TargetOf(i.Config.Config.Labels)},
		Claim{"the image's environment", TargetOfEnv(i.Config.Config.Env)})
}

// ErrNoEntrypoint reports an image that does not say what to run.
var ErrNoEntrypoint = errors.New("the image has no ENTRYPOINT, so nothing says which file is the firmware")

// Entrypoint is the absolute path of the firmware inside of the image.
func (i *Image) Entrypoint() (string, error) {
	c := i.Config.Config
	return Entrypoint(c.Entrypoint, c.Cmd, c.WorkingDir)
}

// Entrypoint is the absolute path of the program that a config runs: the first
// word of ENTRYPOINT and CMD, relative to the working folder. A firmware needs
// neither PATH nor an interpreter.
func Entrypoint(entrypoint, cmd []string, workingDir string) (string, error) {
	args := slices.Concat(entrypoint, cmd)
	if len(args) == 0 || args[0] == "" {
		return "", ErrNoEntrypoint
	}
	if path.IsAbs(args[0]) {
		return path.Clean(args[0]), nil
	}
	return path.Join("/", workingDir, args[0]), nil
}

// Sink takes what CopyFile finds. Truncate(0) is called before each file: in a
// layer the last of several entries of a name counts.
type Sink interface {
	io.Writer
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
}

// CopyFile copies the file name, an absolute path of the image, to dst, and
// verifies the layer that it came from; at most limit bytes. A file that the
// image does not hold is an error that wraps fs.ErrNotExist.
func (i *Image) CopyFile(dst Sink, name string, limit int64) error {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for n := len(i.Manifest.Layers) - 1; n >= 0; n-- {
		found, err := i.copyFrom(i.Manifest.Layers[n], dst, name, limit)
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", n+1, len(i.Manifest.Layers), err)
		}
		switch found {
		case present:
			return nil
		case removed:
			n = 0
		}
	}
	return fmt.Errorf("the image holds no /%s: %w", name, fs.ErrNotExist)
}

type presence int

const (
	absent  presence = iota
	present          // copied
	removed          // this layer hides what lower ones hold
)

// copyFrom looks for file in one layer. The whole layer is read, because only
// then its digest is known.
func (i *Image) copyFrom(d Descriptor, dst Sink, file string, limit int64) (presence, error) {
	name, sum, err := blobPath(d.Digest)
	if err != nil {
		return absent, err
	}
	blob, _, err := i.layout.files.open(name)
	if err != nil {
		return absent, err
	}
	defer blob.Close()
	raw := bufio.NewReader(io.TeeReader(blob, sum))
	content, err := decompress(raw, i.layout.Zstd)
	if err != nil {
		return absent, err
	}
	found, err := findFile(&io.LimitedReader{R: content, N: maxLayer}, dst, file, limit)
	if err != nil {
		return absent, err
	}
	if _, err := io.Copy(io.Discard, raw); err != nil { // padding after the archive's end counts
		return absent, err
	}
	if !d.Digest.matches(sum) {
		return absent, damaged(d.Digest)
	}
	return found, nil
}

func decompress(r *bufio.Reader, zstd func(io.Reader) (io.Reader, error)) (io.Reader, error) {
	head, _ := r.Peek(4)
	switch compressionOf(head) {
	case "gzip":
		return gzip.NewReader(r)
	case "zstd":
		if zstd != nil {
			return zstd(r)
		}
		return nil, errors.New("the layer is compressed with zstd, which is not supported; build with compression=gzip")
	}
	return r, nil
}

// findFile reads a layer and applies the changes that concern name (image-spec,
// layer.md: whiteouts, opaque whiteouts).
func findFile(layer *io.LimitedReader, dst Sink, name string, limit int64) (presence, error) {
	found, whiteout := absent, path.Join(path.Dir(name), ".wh."+path.Base(name))
	r := tar.NewReader(layer)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			if layer.N <= 0 {
				return absent, fmt.Errorf("more than %d bytes", int64(maxLayer))
			}
			return found, nil
		}
		if err != nil {
			if layer.N <= 0 {
				return absent, fmt.Errorf("more than %d bytes", int64(maxLayer))
			}
			return absent, fmt.Errorf("not a tar archive: %w", err)
		}
		if n >= maxEntries {
			return absent, fmt.Errorf("more than %d files", maxEntries)
		}
		entry := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		switch {
		case entry == name:
			if h.Typeflag != tar.TypeReg {
				return absent, fmt.Errorf("/%s is not a regular file (tar type %q): the image must hold the firmware itself", name, h.Typeflag)
			}
			if h.Size > limit {
				return absent, fmt.Errorf("/%s is %d bytes, the limit for firmware is %d", name, h.Size, limit)
			}
			if err := rewrite(dst, r); err != nil {
				return absent, err
			}
			found = present
		case found == absent && hides(entry, name, whiteout):
			found = removed
		}
	}
}

func rewrite(dst Sink, r io.Reader) error {
	if err := dst.Truncate(0); err != nil {
		return err
	}
	if _, err := dst.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(dst, r)
	return err
}

// hides reports whether the layer entry removes name from the layers below:
// a whiteout of the file or of a folder above it, or an opaque folder above it.
func hides(entry, name, whiteout string) bool {
	if entry == whiteout {
		return true
	}
	dir, base := path.Split(entry)
	if !strings.HasPrefix(base, ".wh.") {
		return false
	}
	if base == ".wh..wh..opq" {
		return strings.HasPrefix(name, dir)
	}
	return strings.HasPrefix(name, dir+strings.TrimPrefix(base, ".wh.")+"/")
}
