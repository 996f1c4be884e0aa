package image

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Select lists the images of the layout that a name means: those that its index
// knows by tag, those of the index or manifest with the digest want, or both. Empty
// is any.
func (l *Layout) Select(tag string, want Digest) ([]*Image, error) {
	if tag == "" && want == "" {
		return l.Images()
	}
	b, err := l.read(indexFile)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", l.path, err)
	}
	var idx index
	if err := json.Unmarshal(b, &idx); err != nil {
		return nil, fmt.Errorf("image %s: index: %w", l.path, err)
	}
	if tag != "" {
		idx.Manifests = slices.DeleteFunc(idx.Manifests, func(d Descriptor) bool {
			return d.Annotations[keyRefName] != tag && d.Annotations[keyContainerdName] != tag
		})
		if len(idx.Manifests) == 0 {
			return nil, fmt.Errorf("image %s has no tag %q", l.path, tag)
		}
	}
	exact := slices.IndexFunc(idx.Manifests, func(d Descriptor) bool { return d.Digest == want })
	if exact >= 0 {
		idx.Manifests = idx.Manifests[exact : exact+1]
	}
	if b, err = json.Marshal(idx); err != nil {
		return nil, fmt.Errorf("image %s: index: %w", l.path, err)
	}
	images, err := l.images(b, 0)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", l.path, err)
	}
	if want != "" && exact < 0 {
		images = slices.DeleteFunc(images, func(i *Image) bool { return i.Digest != want })
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("image %s lists no image %s", l.path, want)
	}
	return images, nil
}
