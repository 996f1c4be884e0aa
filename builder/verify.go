package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	fstypes "github.com/tonistiigi/fsutil/types"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/firmware/check"
)

const (
	// maxFirmware bounds the firmware that is read out of a build, in bytes. With
	// debug information a few MiB are usual.
	maxFirmware = 64 << 20
	// chunk is how much of it one message carries; BuildKit allows 16 MiB.
	chunk = 4 << 20
	// maxListed is how many files of an image are looked at: one is what it should have.
	maxListed = 64
)

// rootFS is the file system of a finished build; a gateway.Reference is one.
type rootFS interface {
	ReadFile(context.Context, gateway.ReadRequest) ([]byte, error)
	ReadDir(context.Context, gateway.ReadDirRequest) ([]*fstypes.Stat, error)
	StatFile(context.Context, gateway.StatRequest) (*fstypes.Stat, error)
}

// verification is what verify looks at.
type verification struct {
	root       rootFS
	config     *dockerspec.DockerOCIImage
	dockerfile *dockerfile
	core       *board.Core
	policy     policy
	named      bool // the firmware is that of --firmware, not the Dockerfile's ENTRYPOINT
}

// verify reads the firmware out of the build and checks that the core can take it.
// What the author should know but may want is returned as warnings.
func (v *verification) verify(ctx context.Context) (warnings []string, err error) {
	where := v.dockerfile.entrypoint()
	entry, err := entrypointOf(v.config)
	if err != nil {
		return nil, fmt.Errorf(`%s: %w; end it with ENTRYPOINT ["NAME.elf"]`, v.dockerfile.name, err)
	}
	j := judged{policy: v.policy}
	if n, made := layers(v.config); n > 1 {
		j.add(v.dockerfile.name, v.dockerfile.name, firmware.Finding{Code: check.ManyLayers, Fatal: true, Message: fmt.Sprintf(
			"the image has %d layers, firmware goes into one: end with FROM scratch and a single COPY (%s)", n, strings.Join(made, "; "))})
		if err := j.err(); err != nil {
			return nil, err
		}
	}
	files, err := list(ctx, v.root)
	if err != nil {
		return nil, fmt.Errorf("list the files of the image: %w", err)
	}
	elf, err := readFile(ctx, v.root, entry)
	if err != nil {
		var missing *missingError
		if errors.As(err, &missing) {
			if v.named {
				return nil, fmt.Errorf("--firmware %s is not in the image, which holds %s", entry, enumerate(files))
			}
			return nil, fmt.Errorf("%s: ENTRYPOINT %s is not in the image, which holds %s", where, entry, enumerate(files))
		}
		return nil, fmt.Errorf("%s: firmware %s: %w", where, entry, err)
	}
	file, findings, err := check.Parse(bytes.NewReader(elf), int64(len(elf)))
	if err == nil && file != nil {
		findings, err = check.Firmware(file, bytes.NewReader(elf), int64(len(elf)), *v.core)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: firmware %s: %w", where, entry, err)
	}
	for _, f := range findings {
		j.add(where, "firmware "+entry, f)
	}
	if others := slices.DeleteFunc(files, func(f string) bool { return f == entry }); len(others) > 0 {
		j.add(v.dockerfile.name, v.dockerfile.name, firmware.Finding{Code: check.OtherFiles, Message: fmt.Sprintf(
			"beside the firmware the image holds %s: no core uses them, every board downloads them", enumerate(others))})
	}
	return j.warnings, j.err()
}

// isMissing reports whether BuildKit does not find a file: the error's type is lost on
// the wire.
func isMissing(err error) bool { return strings.Contains(err.Error(), "no such file") }

// missingError reports a file that the image does not have.
type missingError struct{ name string }

func (e *missingError) Error() string { return e.name + " is not in the image" }

// readFile reads a whole file, following symbolic links inside of root. One that is
// not there is a *missingError.
func readFile(ctx context.Context, root rootFS, name string) ([]byte, error) {
	stat, err := root.StatFile(ctx, gateway.StatRequest{Path: name})
	if err != nil {
		if isMissing(err) {
			return nil, &missingError{name}
		}
		return nil, err
	}
	switch {
	case stat.IsDir():
		return nil, errors.New("is a folder")
	case stat.Size > maxFirmware:
		return nil, fmt.Errorf("has %d bytes, more than %d is not firmware", stat.Size, maxFirmware)
	}
	text := make([]byte, 0, stat.Size)
	for int64(len(text)) < stat.Size {
		part, err := root.ReadFile(ctx, gateway.ReadRequest{
			Filename: name,
			Range:    &gateway.FileRange{Offset: len(text), Length: chunk},
		})
		if err != nil {
			return nil, err
		}
		if len(part) == 0 {
			return nil, fmt.Errorf("ends after %d of %d bytes", len(text), stat.Size)
		}
		text = append(text, part...)
	}
	return text, nil
}

// layers counts the layers that an image will have, and says what made them. Before
// the export the config lists those of a base image alone; the history says which
// steps will add one.
func layers(img *dockerspec.DockerOCIImage) (n int, made []string) {
	for _, h := range img.History {
		if !h.EmptyLayer {
			made = append(made, strings.TrimSuffix(h.CreatedBy, " # buildkit"))
		}
	}
	return max(len(made), len(img.RootFS.DiffIDs)), made
}

// list names the files of an image with their paths, at most maxListed.
func list(ctx context.Context, root rootFS) ([]string, error) {
	var files []string
	for folders := []string{"/"}; len(folders) > 0 && len(files) < maxListed; folders = folders[1:] {
		entries, err := root.ReadDir(ctx, gateway.ReadDirRequest{Path: folders[0]})
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := path.Join(folders[0], path.Base(e.Path))
			if e.IsDir() {
				folders = append(folders, name)
			} else {
				files = append(files, name)
			}
		}
	}
	return files, nil
}

// enumerate names a few files of many.
func enumerate(files []string) string {
	const few = 4
	switch {
	case len(files) == 0:
		return "nothing"
	case len(files) <= few:
		return strings.Join(files, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(files[:few], ", "), len(files)-few)
}

// onlyProgram is the one file of an image made by our own Dockerfile, whose
// ENTRYPOINT cannot know its name.
func onlyProgram(ctx context.Context, root rootFS) (string, error) {
	files, err := list(ctx, root)
	if err != nil {
		return "", fmt.Errorf("list the files of the image: %w", err)
	}
	if len(files) != 1 {
		return "", fmt.Errorf("the project builds %d programs: %s; choose one with --build-arg %s=%s",
			len(files), enumerate(files), nameArg, strings.TrimSuffix(path.Base(files[0]), path.Ext(files[0])))
	}
	return path.Base(files[0]), nil
}
