package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// saves are the commands by which engines give an image away, as an archive on
// standard output; the image's name comes last.
func saves(kind Kind) []string {
	switch kind {
	case KindContainerd:
		// all platforms: the image is for the board, not for this machine
		return []string{"ctr", "images", "export", "--all-platforms", "-"}
	case KindPodman:
		return []string{"podman", "save", "--format", "oci-archive"}
	}
	return []string{"docker", "save"}
}

// inDocker reports whether Docker answers and has the image.
func inDocker(ctx context.Context, name string) bool {
	return exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", "--", name).Run() == nil
}

func inspectEngine(ctx context.Context, s source) ([]Image, error) {
	f, err := os.CreateTemp("", "hybrid-inspect-*.tar")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if named, err := reference.ParseNormalizedNamed(s.name); err == nil && s.kind == KindContainerd {
		s.name = reference.TagNameOnly(named).String() // containerd knows full names alone
	}
	args := append(saves(s.kind), s.name)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = f, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), lastLine(stderr.String(), err))
	}
	s.name, s.kind = f.Name(), KindArchive
	return inspectLocal(s)
}

// lastLine is what a command said last, which is why it failed.
func lastLine(stderr string, err error) error {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return err
}

// isDockerArchive reports whether an archive is what docker save wrote before Docker
// had layouts: a manifest.json without an index.json.
func isDockerArchive(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	docker := false
	for r, n := tar.NewReader(f), 0; n < 10_000; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, nil // package image says what is wrong with it
		}
		switch path.Clean(h.Name) {
		case "index.json":
			return false, nil
		case "manifest.json":
			docker = true
		}
	}
	return docker, nil
}

func inspectDockerArchive(s source) ([]Image, error) {
	open := func() (io.ReadCloser, error) { return os.Open(s.name) }
	if s.tag != "" || s.digest != "" {
		return nil, fmt.Errorf("%s is an archive without an index, so no tag or digest can be chosen", s.name)
	}
	manifest, err := tarball.LoadManifest(open)
	if err != nil {
		return nil, fmt.Errorf("archive %s: %w", s.name, err)
	}
	var names []string
	var configs []*v1.ConfigFile
	images, err := inLayout(s.selection, func(l layout.Path) error {
		for _, d := range manifest {
			var tag string
			if len(d.RepoTags) > 0 {
				tag = d.RepoTags[0]
			}
			img, err := dockerImage(open, tag, len(manifest) == 1)
			if err != nil {
				return fmt.Errorf("archive %s: %w", s.name, err)
			}
			if err := imageFits(img); err != nil {
				return fmt.Errorf("archive %s: %w", s.name, err)
			}
			config, err := img.ConfigFile()
			if err != nil {
				return fmt.Errorf("archive %s: %w", s.name, err)
			}
			if err := l.AppendImage(img); err != nil {
				return fmt.Errorf("archive %s: %w", s.name, err)
			}
			names, configs = append(names, tag), append(configs, config)
		}
		return nil
	})
	for i := range images {
		images[i].Name = names[i]
		images[i].asSaved(configs[i])
	}
	return images, err
}

// asSaved takes back what was made up for the layout: such an archive has neither a
// manifest nor compressed layers.
func (img *Image) asSaved(config *v1.ConfigFile) {
	img.Digest = ""
	for n := range img.Layers {
		l := &img.Layers[n]
		img.Size += l.Unpacked - l.Size
		l.Digest, l.MediaType, l.Size = config.RootFS.DiffIDs[n].String(), string(types.DockerUncompressedLayer), l.Unpacked
	}
}

// dockerImage is an image of an archive, by its name unless there is one alone.
func dockerImage(open tarball.Opener, named string, only bool) (v1.Image, error) {
	if only || named == "" {
		return tarball.Image(open, nil)
	}
	tag, err := name.NewTag(named)
	if err != nil {
		return nil, err
	}
	return tarball.Image(open, &tag)
}
