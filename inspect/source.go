package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/hybrid-containers/hybrid/firmware"
)

// selection is which images of a source, and for which core where they do not say.
type selection struct {
	tag    string
	digest digest.Digest
	target Target
}

// source is a name, understood.
type source struct {
	kind Kind
	name string // path or image name
	selection
}

// Open inspects what name means:
//
//	oci-layout://PATH[:TAG][@DIGEST]   a layout, as a folder or an archive
//	docker:NAME containerd:NAME podman:NAME   an image of a local engine
//	docker-image://NAME   an image in a registry
//	PATH[:TAG][@DIGEST]   a layout, an archive, or an ELF file
//	NAME   an image of Docker if that answers and has it, else of its registry
//
// Target says the core of what does not say it itself; its Board may be empty.
func Open(ctx context.Context, name string, target Target) (*Report, error) {
	if _, _, err := coreOf(target); err != nil {
		return nil, err
	}
	s, err := parseSource(name)
	if err != nil {
		return nil, err
	}
	s.target = target
	if s.kind == "" {
		if s.kind = KindRegistry; inDocker(ctx, s.name) {
			s.kind = KindDocker
		}
	}
	report := &Report{Source: name, Kind: s.kind}
	switch s.kind {
	case KindELF:
		report.Firmware, err = inspectFile(s.name, target)
	case KindLayout, KindArchive:
		report.Images, err = inspectLayout(s.name, s.selection)
	case KindRegistry:
		report.Images, err = inspectRegistry(ctx, s)
	default:
		report.Images, err = inspectEngine(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	return report, nil
}

// fileName is a name that can only be a file's.
var fileName = regexp.MustCompile(`^(/|\.\.?(/|$))|\.(elf|axf|out|tar)$`)

func parseSource(name string) (source, error) {
	for prefix, kind := range map[string]Kind{"docker:": KindDocker, "containerd:": KindContainerd, "podman:": KindPodman, "docker-image://": KindRegistry} {
		if image, ok := strings.CutPrefix(name, prefix); ok {
			if image == "" {
				return source{}, fmt.Errorf("%s: want the name of an image behind %s", name, prefix)
			}
			return source{kind: kind, name: image}, nil
		}
	}
	path, layout := strings.CutPrefix(name, "oci-layout://")
	if path == "" {
		return source{}, fmt.Errorf("%q: want a file, a folder or the name of an image", name)
	}
	s, err := localSource(path)
	switch {
	case err == nil && layout && s.kind == KindELF:
		return s, fmt.Errorf("%s is an ELF file, not an OCI layout", s.name)
	case err == nil:
		return s, nil
	case !errors.Is(err, fs.ErrNotExist):
		return s, err
	case layout || fileName.MatchString(path):
		return s, fmt.Errorf("%s: no such file or folder", path)
	}
	return source{name: name}, nil
}

// localSource finds the file or folder of PATH[:TAG][@DIGEST]; the longest path wins.
func localSource(path string) (source, error) {
	var s source
	if _, err := os.Stat(path); err != nil {
		if at := strings.LastIndex(path, "@"); at > 0 {
			d, err := digest.Parse(path[at+1:])
			if err != nil {
				return s, fmt.Errorf("%s: digest: %w", path, err)
			}
			s.digest, path = d, path[:at]
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		if colon := strings.LastIndex(path, ":"); colon > 0 {
			if shorter, statErr := os.Stat(path[:colon]); statErr == nil {
				s.tag, path, info, err = path[colon+1:], path[:colon], shorter, nil
			}
		}
	}
	if err != nil {
		return s, err
	}
	s.name = path
	switch {
	case info.IsDir():
		s.kind = KindLayout
		return s, nil
	case !info.Mode().IsRegular():
		return s, fmt.Errorf("%s is neither a file nor a folder", path)
	}
	head, err := headOf(path)
	if err != nil {
		return s, err
	}
	if s.kind = KindArchive; firmware.IsELF(head) {
		s.kind = KindELF
		if s.tag != "" || s.digest != "" {
			return s, fmt.Errorf("%s is an ELF file, it has no tag or digest", path)
		}
	}
	return s, nil
}

func headOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return head[:n], nil
}

func inspectFile(path string, target Target) (*Firmware, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFirmware+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(content) > maxFirmware {
		return nil, fmt.Errorf("%s has more than %d bytes, which is not firmware", path, maxFirmware)
	}
	fw, err := inspectELF(filepath.Base(path), content, target)
	return &fw, err
}
