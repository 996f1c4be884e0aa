package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Source is where an image is, as people write it:
//
//	oci:PATH[:TAG]              an OCI layout, a folder
//	oci-archive:PATH[:TAG]      a tar archive of one
//	docker-archive:PATH[:NAME]  what docker save writes
//	docker:NAME  containerd:[NAMESPACE/]NAME  podman:NAME
//	PATH[:TAG]                  any of the first three
//	NAME                        an image of the first engine that has it
//
// A path may be followed by @DIGEST, of an image or an index.
type Source struct {
	Path   string // of a layout or an archive; else the image is an engine's
	Tag    string // of the images of Path; empty is all
	Digest Digest // of an image of Path, or of an index; empty is any

	Engine string // Docker, Containerd or Podman; empty is any
	Name   string // of the image there
}

// The engines, by the prefixes of their images.
const (
	Docker     = "docker"
	Containerd = "containerd"
	Podman     = "podman"
)

// ParseSource understands what people write. It looks for files, because a name may be
// one; no engine is asked.
func ParseSource(text string) (Source, error) {
	if strings.HasPrefix(text, "-") {
		return Source{}, fmt.Errorf("%q is not the name of an image: it starts with -", text)
	}
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case Docker, Containerd, Podman:
		if rest == "" || strings.HasPrefix(rest, "-") {
			return Source{}, fmt.Errorf("%q: want %s: and the name of an image", text, kind)
		}
		return Source{Engine: kind, Name: rest}, nil
	case "oci", "oci-archive", "docker-archive":
		if rest == "" {
			return Source{}, fmt.Errorf("%q: want %s: and a path", text, kind)
		}
		s, err := localSource(rest)
		if err != nil {
			return s, err
		}
		info, err := os.Stat(s.Path)
		if err == nil && info.IsDir() != (kind == "oci") {
			err = fmt.Errorf("%s is a folder, and %s: is for archives", s.Path, kind)
			if kind == "oci" {
				err = fmt.Errorf("%s is no folder: oci-archive: and docker-archive: are for archives", s.Path)
			}
		}
		return s, err
	}
	s, err := localSource(text)
	if errors.Is(err, fs.ErrNotExist) && !isPath(text) {
		return Source{Name: text}, nil
	}
	return s, err
}

// isPath reports whether a name can only be a file's.
func isPath(s string) bool {
	return s == "" || s == "." || s == ".." || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") ||
		strings.HasSuffix(s, "/") || strings.HasSuffix(s, ".tar")
}

// localSource splits PATH[:TAG][@DIGEST]: the path is the longest that there is.
func localSource(text string) (Source, error) {
	_, err := os.Stat(text)
	if err == nil {
		return Source{Path: text}, nil
	}
	rest, digest := text, Digest("")
	if at := strings.LastIndex(text, "@"); at > 0 {
		rest, digest = text[:at], Digest(text[at+1:])
	}
	for path := rest; path != ""; path = path[:max(0, strings.LastIndex(path, ":"))] {
		if _, statErr := os.Stat(path); statErr != nil {
			continue
		}
		if digest != "" {
			if _, _, _, err := digest.parse(); err != nil {
				return Source{}, fmt.Errorf("image %s: %w", text, err)
			}
		}
		return Source{Path: path, Tag: strings.TrimPrefix(rest[len(path):], ":"), Digest: digest}, nil
	}
	return Source{}, err
}
