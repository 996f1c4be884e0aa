package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxImage bounds what is downloaded; a firmware image has some KiB.
const maxImage = 256 << 20

// inspectRegistry copies the image into a layout for a moment, so that the report is
// the one of the layout. Credentials are those of docker login; a registry on a
// loopback address is asked without TLS.
func inspectRegistry(ctx context.Context, s source) ([]Image, error) {
	ref, err := name.ParseReference(s.name)
	if err != nil {
		return nil, fmt.Errorf("%s is no file, and as the name of an image: %w", s.name, err)
	}
	desc, err := remote.Get(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, reason(err))
	}
	return inLayout(s.selection, func(l layout.Path) error {
		var err error
		switch desc.MediaType {
		case types.OCIImageIndex, types.DockerManifestList:
			var index v1.ImageIndex
			if index, err = desc.ImageIndex(); err == nil {
				if err = indexFits(index); err == nil {
					err = l.AppendIndex(index)
				}
			}
		default:
			var img v1.Image
			if img, err = desc.Image(); err == nil {
				if err = imageFits(img); err == nil {
					err = l.AppendImage(img)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("image %s: %w", ref, reason(err))
		}
		return nil
	})
}

// inLayout inspects the layout that write fills.
func inLayout(sel selection, write func(layout.Path) error) ([]Image, error) {
	dir, err := os.MkdirTemp("", "hybrid-inspect")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, err
	}
	if err := write(l); err != nil {
		return nil, err
	}
	return inspectLayout(dir, sel)
}

// imageFits refuses to download what is no firmware.
func imageFits(img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	var size int64
	for _, l := range manifest.Layers {
		size += l.Size
	}
	if size > maxImage {
		return fmt.Errorf("its layers have %d bytes, more than %d is not firmware", size, int64(maxImage))
	}
	return nil
}

func indexFits(index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		if !d.MediaType.IsImage() {
			continue
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		if err := imageFits(img); err != nil {
			return err
		}
	}
	return nil
}

// reason is a registry's own words, without the request around them.
func reason(err error) error {
	var refused *transport.Error
	if errors.As(err, &refused) && len(refused.Errors) > 0 {
		d := refused.Errors[0]
		return fmt.Errorf("the registry says %d %s: %s", refused.StatusCode, d.Code, d.Message)
	}
	return err
}
