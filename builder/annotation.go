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

// imageForm is what annotations can be about.
type imageForm struct {
	platform v1.Platform
	indexed  bool // there will be an index: of several images, or of attestations
}

// set adds a key in the grammar of BuildKit's exporters, annotation-TYPE[PLATFORM].KEY,
// for an image of one platform. BuildKit would silently drop a key that names the
// platform from an image that is not part of an index, so the platform is taken out
// of the key; a key for another platform, or for an index where none is made, cannot
// be obeyed.
func (a annotations) set(key, value string, form imageForm) error {
	k, ok, err := exptypes.ParseAnnotationKey(key)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if !ok {
		return fmt.Errorf("%s: want annotation.KEY, annotation-TYPE.KEY or annotation-TYPE[PLATFORM].KEY", key)
	}
	switch k.Type {
	case exptypes.AnnotationIndex, exptypes.AnnotationIndexDescriptor:
		if !form.indexed {
			return fmt.Errorf("%s: an image of one platform has no index, use annotation.%s", key, k.Key)
		}
	}
	if k.Platform != nil && platforms.FormatAll(*k.Platform) != platforms.FormatAll(form.platform) {
		return fmt.Errorf("%s: the image is built for %s", key, platforms.FormatAll(form.platform))
	}
	k.Platform = nil
	a[k.String()] = value
	return nil
}

// ofIndex are the annotations of an index of the given type, by the keys that stand
// in it.
func (a annotations) ofIndex(kind string) map[string]string {
	found := map[string]string{}
	for key, value := range a {
		if k, ok, err := exptypes.ParseAnnotationKey(key); ok && err == nil && k.Type == kind {
			found[k.Key] = value
		}
	}
	return found
}

// ofImages are the annotations that are not of an index.
func (a annotations) ofImages() annotations {
	found := annotations{}
	for key, value := range a {
		k, ok, err := exptypes.ParseAnnotationKey(key)
		if ok && err == nil && (k.Type == exptypes.AnnotationIndex || k.Type == exptypes.AnnotationIndexDescriptor) {
			continue
		}
		found[key] = value
	}
	return found
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
func parseAnnotations(flags []string, form imageForm) (annotations, error) {
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
			if err := parsed.set("annotation-"+t+"."+key, value, form); err != nil {
				return nil, usageErrorf("--annotation %q: %w", flag, err)
			}
		}
	}
	return parsed, nil
}
