package buildkit

import (
	"context"
	"errors"

	"github.com/containerd/containerd/v2/core/content"
)

// anew is a content store in which a blob that was broken off is written from its
// beginning. BuildKit would go on where it stopped, and what it reads from an OCI
// layout cannot do that ("failed to copy: unsupported offset"): once a build was
// killed while it read its base image, none would succeed for a day.
type anew struct{ content.Store }

// Writer implements content.Ingester.
func (s anew) Writer(ctx context.Context, options ...content.WriterOpt) (content.Writer, error) {
	w, err := s.Store.Writer(ctx, options...)
	if err != nil {
		return nil, err
	}
	if status, err := w.Status(); err != nil || status.Offset == 0 {
		return w, nil //nolint:nilerr // who writes next is told
	}
	if err := w.Truncate(0); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}
