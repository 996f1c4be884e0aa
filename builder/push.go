package builder

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// push sends the index desc of an OCI content store to registries, with Docker's
// credentials. As with Docker, a registry on this machine may speak plain HTTP.
func push(ctx context.Context, store string, desc v1.Descriptor, names []string, insecure bool) error {
	if err := copyLayout(store, store, desc, nil); err != nil {
		return err
	}
	all, err := layout.ImageIndexFromPath(store)
	if err != nil {
		return err
	}
	hash, err := ggcr.NewHash(desc.Digest.String())
	if err != nil {
		return err
	}
	index, err := all.ImageIndex(hash)
	if err != nil {
		return err
	}
	var options []name.Option
	if insecure {
		options = append(options, name.Insecure)
	}
	for _, n := range names {
		ref, err := name.ParseReference(n, options...)
		if err != nil {
			return err
		}
		err = remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("hybrid"))
		if err != nil {
			return fmt.Errorf("push %s: %w", n, err)
		}
	}
	return nil
}
