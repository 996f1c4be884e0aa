package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// dockerFile is the entry point of an archive that docker save writes. That of new
// Docker is an OCI layout as well, which says more.
const dockerFile = "manifest.json"

// saved is an image in an archive of docker save.
type saved struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// dockerImages lists the images of an archive of docker save, in its order; with a tag
// those that have it.
func (l *Layout) dockerImages(tag string) ([]*Image, error) {
	b, err := l.read(dockerFile)
	if err != nil {
		return nil, err
	}
	var all []saved
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", dockerFile, err)
	}
	if len(all) > maxManifests {
		return nil, limitErrorf("more than %d images", maxManifests)
	}
	var images []*Image
	var tags []string
	for _, s := range all {
		tags = append(tags, s.RepoTags...)
		if tag != "" && !slices.Contains(s.RepoTags, tag) && !slices.Contains(s.RepoTags, tag+":latest") {
			continue
		}
		i, err := l.dockerImage(s)
		if err != nil {
			return nil, err
		}
		images = append(images, i)
	}
	if tag != "" && len(images) == 0 {
		return nil, noTag(tag, tags)
	}
	return images, nil
}

// dockerImage reads the config of an image. It is known by its name, which is its
// digest, and says the digests of the layers.
func (l *Layout) dockerImage(s saved) (*Image, error) {
	if n := len(s.Layers); n > maxLayers {
		return nil, limitErrorf("%d layers, more than %d is not an image", n, maxLayers)
	}
	for _, name := range append(s.Layers[:len(s.Layers):len(s.Layers)], s.Config) {
		if len(name) > maxPath {
			return nil, limitErrorf("a path of more than %d bytes", maxPath)
		}
	}
	b, err := l.read(inside("", s.Config))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	sum := sha256.Sum256(b)
	digest := Digest("sha256:" + hex.EncodeToString(sum[:]))
	named := Digest("sha256:" + strings.TrimSuffix(path.Base(s.Config), ".json"))
	if _, _, _, err := named.parse(); err == nil && named != digest {
		return nil, fmt.Errorf("config: %w", damaged(named))
	}
	i := &Image{layout: l}
	var rootfs struct {
		RootFS struct {
			DiffIDs []Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	for _, v := range []any{&i.Config, &rootfs} {
		if err := json.Unmarshal(b, v); err != nil {
			return nil, fmt.Errorf("config %s: %w", clip(s.Config), err)
		}
	}
	if len(s.RepoTags) > 0 {
		i.Name = s.RepoTags[0]
	}
	diffIDs := rootfs.RootFS.DiffIDs
	if len(s.Layers) != len(diffIDs) {
		return nil, fmt.Errorf("config %s: digests of %d layers, the archive lists %d", clip(s.Config), len(diffIDs), len(s.Layers))
	}
	i.Manifest.Config = Descriptor{Digest: digest, Size: int64(len(b))}
	for n, name := range s.Layers {
		name = inside("", name)
		f, size, err := l.files.open(name)
		if err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", n+1, len(diffIDs), err)
		}
		f.Close()
		i.layers = append(i.layers, layer{file: name, digest: diffIDs[n], diffID: true})
		i.Manifest.Layers = append(i.Manifest.Layers, Descriptor{MediaType: mediaTypeDockerLayer, Digest: diffIDs[n], Size: size})
	}
	return i, nil
}
