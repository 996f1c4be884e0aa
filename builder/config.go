package builder

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/util/system"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/image"
)

// slim takes out of a config what BuildKit puts into every one and what says nothing
// of firmware: the history of steps that made no layer, which is longer than the
// rest, and the search path of programs. Boards download it, some over a slow line.
func slim(img *dockerspec.DockerOCIImage) {
	img.History = slices.DeleteFunc(slices.Clone(img.History), func(h v1.History) bool { return h.EmptyLayer })
	img.Config.Env = slices.DeleteFunc(slices.Clone(img.Config.Env), func(e string) bool {
		return e == "PATH="+system.DefaultPathEnvUnix
	})
}

// setTarget writes the target into an image's config: as labels, which people see
// with docker inspect, and as environment, which is what reaches the runtime.
func setTarget(img *dockerspec.DockerOCIImage, t image.Target) {
	labels := maps.Clone(img.Config.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, keyed(t))
	img.Config.Labels = labels

	env := slices.Clone(img.Config.Env)
	for _, kv := range [][2]string{
		{image.EnvBoard, t.Board},
		{image.EnvMCU, t.MCU},
		{image.EnvProcessor, t.Processor},
	} {
		key, value := kv[0], kv[1]
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
		if value != "" {
			env = append(env, key+"="+value)
		}
	}
	img.Config.Env = env
}

// entrypointOf is the absolute path of the program that an image runs.
func entrypointOf(img *dockerspec.DockerOCIImage) (string, error) {
	return image.Entrypoint(img.Config.Entrypoint, img.Config.Cmd, img.Config.WorkingDir)
}
