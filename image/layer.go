package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Limits on what the layers of an untrusted image can make us do.
const (
	maxEntries  = 100_000  // files in an archive, and in the layers of an image
	maxUnpacked = 1 << 30  // bytes of all layers without compression
	maxRatio    = 200      // of a layer, without compression to with it
	freeRatio   = 64 << 20 // bytes of a layer to which maxRatio does not apply
)

// LimitError reports an image that wants more of us than firmware ever does: a
// decompression bomb, or one that only looks like it.
type LimitError struct{ What string }

func (e *LimitError) Error() string { return e.What }

func limitErrorf(format string, args ...any) error { return &LimitError{fmt.Sprintf(format, args...)} }

// layer is where a layer is, and how it is known to be whole.
type layer struct {
	file   string // of the layout; the blob of the digest if empty
	digest Digest
	// diffID: the digest is that of the content without compression.
	diffID bool
}

// open opens the layer's file; what is written to sum must have its digest.
func (l layer) open(f files) (blob io.ReadCloser, sum hash.Hash, err error) {
	name, sum, err := blobPath(l.digest)
	if err != nil {
		return nil, nil, err
	}
	if l.file != "" {
		name = l.file
	}
	blob, _, err = f.open(name)
	return blob, sum, err
}

// budget is what is left of the limits of an image.
type budget struct {
	entries  int
	unpacked int64
}

func newBudget() *budget { return &budget{maxEntries, maxUnpacked} }

// read reads a layer to its end, because only then its digest is known, and verifies
// it. visit sees the entries in their order.
func (l layer) read(f files, left *budget, visit func(h *tar.Header, content io.Reader) error) (unpacked int64, err error) {
	blob, sum, err := l.open(f)
	if err != nil {
		return 0, err
	}
	defer blob.Close()
	packed := &counter{r: blob}
	var source io.Reader = packed
	if !l.diffID {
		source = io.TeeReader(packed, sum)
	}
	raw := bufio.NewReader(source)
	content, err := decompress(raw)
	if err != nil {
		return 0, err
	}
	limited := &limiter{r: content, packed: packed, left: left}
	content = limited
	if l.diffID {
		content = io.TeeReader(limited, sum)
	}
	if err := entries(content, left, visit); err != nil {
		return 0, err
	}
	for _, r := range []io.Reader{content, raw} { // padding after the end of either counts
		if _, err := io.Copy(io.Discard, r); err != nil {
			return 0, err
		}
	}
	if !l.digest.matches(sum) {
		return 0, damaged(l.digest)
	}
	return limited.n, nil
}

func entries(archive io.Reader, left *budget, visit func(*tar.Header, io.Reader) error) error {
	for r := tar.NewReader(archive); ; left.entries-- {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			var limit *LimitError
			if errors.As(err, &limit) {
				return limit
			}
			return fmt.Errorf("not a tar archive: %w", err)
		}
		if left.entries <= 0 {
			return limitErrorf("more than %d files", maxEntries)
		}
		if err := visit(h, r); err != nil {
			return err
		}
	}
}

func decompress(r *bufio.Reader) (io.Reader, error) {
	head, _ := r.Peek(6)
	switch compression := compressionOf(head); compression {
	case "gzip":
		return gzip.NewReader(r)
	case "zstd":
		return unzstd(r)
	case "":
		return r, nil
	default:
		return nil, fmt.Errorf("compressed with %s, want gzip, zstd or neither", compression)
	}
}

// compressionOf tells compressions by their magic numbers; empty is none of them. A
// frame that zstd skips may come first.
func compressionOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return "zstd"
	case bytes.HasPrefix(head, []byte("BZh")):
		return "bzip2"
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return "xz"
	}
	return ""
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// limiter fails where a layer unpacks to more than it may.
type limiter struct {
	r      io.Reader
	packed *counter
	left   *budget
	n      int64
}

func (l *limiter) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	l.n += int64(n)
	l.left.unpacked -= int64(n)
	switch {
	case l.left.unpacked < 0:
		return 0, limitErrorf("more than %d bytes without compression", int64(maxUnpacked))
	case l.n > freeRatio && l.n/maxRatio > l.packed.n:
		return 0, limitErrorf("more than %d times as large without compression", maxRatio)
	}
	return n, err
}
