package sdk

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// epoch is the time of everything in the image.
var epoch = time.Unix(0, 0).UTC()

// writeLayout writes an OCI layout with one image of one layer, the tar rootfs with
// the texts of the files in replaced, into the empty folder, and returns the digest of
// its manifest.
func writeLayout(ctx context.Context, folder, name string, rootfs io.Reader, replaced map[string]string) (digest.Digest, error) {
	blobs := filepath.Join(folder, v1.ImageBlobsDir, digest.SHA256.String())
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return "", err
	}
	layer, diffID, err := writeLayer(ctx, blobs, rootfs, replaced)
	if err != nil {
		return "", err
	}
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	config, err := writeJSON(blobs, v1.MediaTypeImageConfig, v1.Image{
		Created:  &epoch,
		Platform: platform,
		Config: v1.ImageConfig{
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd: []string{"bash"},
		},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
		History: []v1.History{{Created: &epoch, CreatedBy: "hybrid sdk base"}},
	})
	if err != nil {
		return "", err
	}
	manifest, err := writeJSON(blobs, v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    config,
		Layers:    []v1.Descriptor{layer},
	})
	if err != nil {
		return "", err
	}
	manifest.Platform = &platform
	manifest.Annotations = map[string]string{
		v1.AnnotationRefName:       "latest",
		"io.containerd.image.name": name + ":latest",
	}
	index, err := json.Marshal(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{manifest},
	})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(folder, v1.ImageIndexFile), index, 0o644); err != nil {
		return "", err
	}
	version, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return "", err
	}
	return manifest.Digest, os.WriteFile(filepath.Join(folder, v1.ImageLayoutFile), version, 0o644)
}

// writeLayer writes rootfs as a blob, and returns it with the digest of what is
// compressed in it.
func writeLayer(ctx context.Context, blobs string, rootfs io.Reader, replaced map[string]string) (_ v1.Descriptor, diffID digest.Digest, err error) {
	f, err := os.CreateTemp(blobs, ".layer")
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()

	blob, diff := digest.Canonical.Digester(), digest.Canonical.Digester()
	compressed := bufio.NewWriterSize(io.MultiWriter(f, blob.Hash()), 1<<20)
	// the level and one encoder fix the bytes: the digest must not depend on the
	// number of processors
	encoder, err := zstd.NewWriter(compressed, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	if err := copyTar(ctx, io.MultiWriter(encoder, diff.Hash()), bufio.NewReaderSize(rootfs, 1<<20), replaced); err != nil {
		return v1.Descriptor{}, "", errors.Join(err, encoder.Close())
	}
	if err := errors.Join(encoder.Close(), compressed.Flush(), f.Chmod(0o644)); err != nil {
		return v1.Descriptor{}, "", err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayerZstd, Digest: blob.Digest(), Size: size}
	return d, diff.Digest(), os.Rename(f.Name(), filepath.Join(blobs, d.Digest.Encoded()))
}

// copyTar copies the files of a root file system that belong into an image, with
// all that differs between two runs taken out of their headers.
func copyTar(ctx context.Context, w io.Writer, r io.Reader, replaced map[string]string) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	entries := 0
	for ; ; entries++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("root file system: %w", err)
		}
		if dropped(h.Name) {
			continue
		}
		if path.Clean("/"+h.Name) == "/etc/machine-id" {
			// empty, not missing: programs read it, and systemd would fill it in
			h.Size = 0
		}
		if h.ModTime.After(epoch) {
			h.ModTime = epoch
		}
		text, isReplaced := replaced[path.Clean("/"+h.Name)]
		if isReplaced {
			h.Size = int64(len(text))
		}
		h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
		h.Uname, h.Gname = "", ""
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("root file system: %s: %w", h.Name, err)
		}
		if h.Size == 0 {
			continue
		}
		var from io.Reader = in
		if isReplaced {
			from = strings.NewReader(text)
		}
		if _, err := io.Copy(out, from); err != nil {
			return fmt.Errorf("root file system: %s: %w", h.Name, err)
		}
	}
	if entries == 0 {
		return errors.New("root file system: the tar is empty")
	}
	return out.Close()
}

// writeJSON writes v as a blob.
func writeJSON(blobs, mediaType string, v any) (v1.Descriptor, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	return d, os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), text, 0o644)
}
