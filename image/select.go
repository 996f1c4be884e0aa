package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Images lists the images of the layout in the order of its index; attestations
// are not images and are left out.
func (l *Layout) Images() ([]*Image, error) { return l.Select("", "") }

// Select lists the images of the layout that a name means: those that its index
// knows by tag, those of the index or manifest with the digest want, or both. Empty
// is any.
func (l *Layout) Select(tag string, want Digest) ([]*Image, error) {
	l.json = maxAllJSON
	images, err := l.selected(tag, want)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", l.path, err)
	}
	return images, nil
}

func (l *Layout) selected(tag string, want Digest) ([]*Image, error) {
	b, err := l.read(indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		if !l.has(dockerFile) {
			return nil, fmt.Errorf("holds no %s: want an OCI layout, as a folder or a tar archive, or an archive of docker save", indexFile)
		}
		images, err := l.dockerImages(tag)
		switch {
		case err != nil:
			return nil, err
		case want != "":
			return nil, errors.New("an archive without an index, so no digest can be chosen")
		case len(images) == 0:
			return nil, fmt.Errorf("its %s lists no image", dockerFile)
		}
		return images, nil
	}
	if err != nil {
		return nil, err
	}
	var idx index
	if err := json.Unmarshal(b, &idx); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if tag != "" {
		var tags []string
		idx.Manifests = slices.DeleteFunc(idx.Manifests, func(d Descriptor) bool {
			names := []string{d.Annotations[keyRefName], d.Annotations[keyContainerdName]}
			tags = append(tags, names...)
			return !slices.Contains(names, tag)
		})
		if len(idx.Manifests) == 0 {
			return nil, noTag(tag, tags)
		}
	}
	exact := slices.IndexFunc(idx.Manifests, func(d Descriptor) bool { return d.Digest == want })
	if exact >= 0 {
		idx.Manifests = idx.Manifests[exact : exact+1]
	}
	images, err := l.images(idx, 0)
	if err != nil {
		return nil, err
	}
	if want != "" && exact < 0 {
		images = slices.DeleteFunc(images, func(i *Image) bool { return i.Digest != want })
	}
	switch {
	case len(images) == 0 && want != "":
		return nil, fmt.Errorf("its index lists no image %s", want)
	case len(images) == 0:
		return nil, errors.New("its index lists no image")
	}
	return images, nil
}

// noTag says what there is instead.
func noTag(tag string, tags []string) error {
	slices.Sort(tags)
	tags = slices.DeleteFunc(slices.Compact(tags), func(s string) bool { return s == "" })
	if len(tags) == 0 {
		return fmt.Errorf("has no tag %q: its images have no tags", tag)
	}
	return fmt.Errorf("has no tag %q, it has %s", tag, Few(tags))
}

// Few is a list for messages, of which ten are enough.
func Few(list []string) string {
	const enough = 10
	n := len(list)
	list = slices.Clone(list[:min(n, enough)])
	for i := range list {
		list[i] = clip(list[i])
	}
	if n > enough {
		return fmt.Sprintf("%s and %d more", strings.Join(list, ", "), n-enough)
	}
	return strings.Join(list, ", ")
}
