package builder

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/image"
)

// annotations are what was said about an image's manifest. Keys are those of
// BuildKit's exporters without platform: annotation.KEY, annotation-TYPE.KEY.
type annotations map[string]string

// set adds a key in the grammar of BuildKit's exporters, annotation-TYPE[PLATFORM].KEY,
// for an image of one platform. BuildKit would silently drop a key that names the
// platform from an image that is not part of an index, so the platform is taken out
// of the key; a key for another platform, or for an index, cannot be obeyed.
func (a annotations) set(key, value string, platform v1.Platform) error {
	k, ok, err := exptypes.ParseAnnotationKey(key)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if !ok {
		return fmt.Errorf("%s: want annotation.KEY, annotation-TYPE.KEY or annotation-TYPE[PLATFORM].KEY", key)
	}
	switch k.Type {
	case exptypes.AnnotationIndex, exptypes.AnnotationIndexDescriptor:
		return fmt.Errorf("%s: an image of one platform has no index, use annotation.%s", key, k.Key)
	}
	if k.Platform != nil && platforms.FormatAll(*k.Platform) != platforms.FormatAll(platform) {
		return fmt.Errorf("%s: the image is built for %s", key, platforms.FormatAll(platform))
	}
	k.Platform = nil
	a[k.String()] = value
	return nil
}

// takeTarget removes what the annotations say about the target.
func (a annotations) takeTarget() image.Target {
	said := map[string]string{}
	for _, key := range []string{image.KeyBoard, image.KeyMCU, image.KeyProcessor} {
		k := exptypes.AnnotationManifestKey(nil, key)
		if v, ok := a[k]; ok {
			said[key] = v
			delete(a, k)
		}
	}
	return image.TargetOf(said)
}

// annotationFlag is --annotation's grammar: types, a colon, the annotation.
var annotationFlag = regexp.MustCompile(`^(?:([a-z-]+(?:\[[A-Za-z0-9_/-]+\])?(?:,[a-z-]+(?:\[[A-Za-z0-9_/-]+\])?)*):)?([^\s=]+)=(.*)$`)

// parseAnnotations parses --annotation as buildx does: [TYPE[PLATFORM],…:]KEY=VALUE.
func parseAnnotations(flags []string, platform v1.Platform) (annotations, error) {
	parsed := annotations{}
	for _, flag := range flags {
		m := annotationFlag.FindStringSubmatch(flag)
		if m == nil {
			return nil, usageErrorf("--annotation %q: want [TYPE[PLATFORM]:]KEY=VALUE", flag)
		}
		types, key, value := m[1], m[2], m[3]
		if types == "" {
			types = exptypes.AnnotationManifest
		}
		for t := range strings.SplitSeq(types, ",") {
			if err := parsed.set("annotation-"+t+"."+key, value, platform); err != nil {
				return nil, usageErrorf("--annotation %q: %w", flag, err)
			}
		}
	}
	return parsed, nil
}
