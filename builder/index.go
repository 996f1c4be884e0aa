package builder

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/ociindex"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
	"github.com/hybrid-containers/hybrid/image"
)

// An index of images is put together here and not by BuildKit: its exporter knows
// the images of an index by their platforms, and ours all have that of the Linux
// beside the core. Each image is the one, to the byte, that a build for its target
// alone makes.

// index builds all variants, each as an image of its own, and hands an index of
// them to the destinations.
func (b *build) index(ctx context.Context, bk *buildkit.BuildKit, show *progress, destinations []*destination) (_ map[string]string, err error) {
	work, err := os.MkdirTemp("", "hybrid-index-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	store, err := local.NewStore(filepath.Join(work, "store"))
	if err != nil {
		return nil, err
	}
	attrs, err := b.indexAttrs()
	if err != nil {
		return nil, err
	}
	built := make([][]v1.Descriptor, len(b.variants))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, v := range b.variants {
		group.Go(func() error {
			opt, url := b.solveOpt(v)
			opt.Exports = []client.ExportEntry{{Type: typeOCI, Attrs: attrs, OutputStore: store}}
			if b.wantsFiles() {
				folder := filepath.Join(work, "files", filepath.FromSlash(v.name()))
				if err := os.MkdirAll(folder, 0o755); err != nil {
					return err
				}
				opt.Exports = append(opt.Exports, client.ExportEntry{Type: typeLocal, OutputDir: folder, Attrs: map[string]string{}})
			}
			response, err := show.build(groupCtx, bk, v.name(), opt, b.image(v, url))
			if err != nil {
				return err
			}
			built[i], err = b.described(groupCtx, store, v, response)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	desc, err := b.writeIndex(ctx, store, slices.Concat(built...))
	if err != nil {
		return nil, err
	}
	for i, out := range b.outputs {
		if err := b.exportIndex(ctx, out, destinations[i], store, desc, work); err != nil {
			return nil, fmt.Errorf("output type=%s: %w", out.kind, err)
		}
	}
	text, err := json.Marshal(desc)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		exptypes.ExporterImageDigestKey:     desc.Digest.String(),
		exptypes.ExporterImageDescriptorKey: base64.StdEncoding.EncodeToString(text),
	}, nil
}

// indexAttrs are the exporter's attributes for the images of an index. All outputs
// share the images, so they must want the same.
func (b *build) indexAttrs() (map[string]string, error) {
	var attrs map[string]string
	for _, out := range b.outputs {
		if !out.isImage() {
			continue
		}
		if out.kind == typeMoby || out.kind == typeImage && !out.is(keyPush) {
			return nil, usageErrorf("type=%s: an index of several targets can be pushed, loaded, or written to a file or folder", out.kind)
		}
		mine := map[string]string(annotations(out.exporterAttrs()).ofImages())
		for _, key := range []string{keyName, keyPush, string(exptypes.OptKeyInsecure), string(exptypes.OptKeyUnpack)} {
			delete(mine, key)
		}
		mine[keyTar] = "false"
		if attrs != nil && !maps.Equal(attrs, mine) {
			return nil, usageErrorf("outputs of several targets must agree on annotations and compression: the images are the same")
		}
		attrs = mine
	}
	if attrs == nil { // no image is wanted, but the files are checked all the same
		attrs = map[string]string{keyTar: "false", string(exptypes.OptKeyRewriteTimestamp): "true"}
	}
	return attrs, nil
}

func (b *build) wantsFiles() bool {
	return slices.ContainsFunc(b.outputs, func(o *output) bool { return o.kind == typeLocal || o.kind == typeTar })
}

// described are the descriptors of what a variant's solve made: its image, and with
// attestations the manifest that holds them. The image's says the target, so that
// the right one is found without fetching all.
func (b *build) described(ctx context.Context, store content.Store, v *variant, response map[string]string) ([]v1.Descriptor, error) {
	text, err := base64.StdEncoding.DecodeString(response[exptypes.ExporterImageDescriptorKey])
	if err != nil {
		return nil, err
	}
	var desc v1.Descriptor
	if err := json.Unmarshal(text, &desc); err != nil {
		return nil, fmt.Errorf("descriptor from BuildKit: %w", err)
	}
	all := []v1.Descriptor{desc}
	if images.IsIndexType(desc.MediaType) {
		text, err := content.ReadBlob(ctx, store, desc)
		if err != nil {
			return nil, err
		}
		var index v1.Index
		if err := json.Unmarshal(text, &index); err != nil {
			return nil, err
		}
		all = index.Manifests
	}
	for i := range all {
		delete(all[i].Annotations, exptypes.ExporterConfigDigestKey)
		if image.IsAttestation(all[i].Annotations) {
			continue
		}
		if all[i].Platform == nil {
			p := v.platform
			all[i].Platform = &p
		}
		annotations := map[string]string{}
		maps.Copy(annotations, all[i].Annotations)
		maps.Copy(annotations, keyed(v.target.Target))
		all[i].Annotations = annotations
	}
	return all, nil
}

// writeIndex writes the index into the store.
func (b *build) writeIndex(ctx context.Context, store content.Store, manifests []v1.Descriptor) (v1.Descriptor, error) {
	index := v1.Index{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   v1.MediaTypeImageIndex,
		Manifests:   manifests,
		Annotations: b.indexAnnotations(exptypes.AnnotationIndex),
	}
	text, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return v1.Descriptor{}, err
	}
	desc := v1.Descriptor{MediaType: index.MediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	err = content.WriteBlob(ctx, store, desc.Digest.String(), strings.NewReader(string(text)), desc)
	desc.Annotations = b.indexAnnotations(exptypes.AnnotationIndexDescriptor)
	return desc, err
}

// indexAnnotations are what --annotation and --output say of an index, by type.
func (b *build) indexAnnotations(kind string) map[string]string {
	found := b.extra.ofIndex(kind)
	for _, out := range b.outputs {
		maps.Copy(found, out.annotations.ofIndex(kind))
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

// exportIndex gives the index, or the files of its images, to one destination.
func (b *build) exportIndex(ctx context.Context, out *output, d *destination, store content.Store, desc v1.Descriptor, work string) error {
	var names []string
	if name := out.attrs[keyName]; name != "" {
		names = strings.Split(name, ",")
	}
	switch {
	case out.kind == typeCacheOnly:
		return nil
	case out.kind == typeImage:
		return push(ctx, store, desc, names, out.is(string(exptypes.OptKeyInsecure)))
	case out.kind == typeLocal:
		return os.CopyFS(d.entry.OutputDir, os.DirFS(filepath.Join(work, "files")))
	case out.kind == typeTar:
		return writeTo(d, func(w io.Writer) error { return writeTar(w, filepath.Join(work, "files")) })
	case d.entry.OutputDir != "":
		return copyLayout(d.entry.OutputDir, filepath.Join(work, "store"), desc, names)
	}
	return writeTo(d, func(w io.Writer) error {
		return archive.Export(ctx, store, w, archive.WithManifest(desc, names...), archive.WithAllPlatforms(), archive.WithSkipDockerManifest())
	})
}

// writeTo opens a destination, writes to it and closes it.
func writeTo(d *destination, write func(io.Writer) error) error {
	w, err := d.entry.Output(nil)
	if err != nil {
		return err
	}
	return errors.Join(write(w), w.Close())
}

// copyLayout adds an index and all that it needs to the OCI layout in folder.
func copyLayout(folder, store string, desc v1.Descriptor, names []string) error {
	err := filepath.WalkDir(filepath.Join(store, v1.ImageBlobsDir), func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(store, name)
		if err != nil {
			return err
		}
		to := filepath.Join(folder, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o777)
		}
		if _, err := os.Stat(to); err == nil {
			return nil // the same content: its name is its digest
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return replace(to, text)
	})
	if err != nil {
		return err
	}
	index := ociindex.NewStoreIndex(folder)
	if len(names) == 0 {
		return index.Put(desc)
	}
	for _, name := range names {
		if err := index.Put(desc, ociindex.Name(name)); err != nil {
			return err
		}
	}
	return nil
}
