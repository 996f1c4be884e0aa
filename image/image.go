package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
)

// Image is one image of a layout.
type Image struct {
	layout *Layout
	layers []layer

	Digest   Digest // of the manifest; empty in an archive of docker save, which has none
	Name     string // as the engine that wrote the layout called it; may be empty
	Manifest Manifest
	Config   Config
}

func (i *Image) checkLayers() error {
	if n := len(i.layers); n > maxLayers {
		return limitErrorf("%d layers, more than %d is not an image", n, maxLayers)
	}
	return nil
}

// Target is what the image says it is for: manifest annotations, labels and
// environment, which must agree.
func (i *Image) Target() (Target, error) {
	return Resolve(nil,
		Claim{"the manifest's annotations", TargetOf(i.Manifest.Annotations)},
		Claim{"the image's labels", TargetOf(i.Config.Config.Labels)},
		Claim{"the image's environment", TargetOfEnv(i.Config.Config.Env)})
}

// ErrNoEntrypoint reports an image that does not say what to run.
var ErrNoEntrypoint = errors.New("the image has no ENTRYPOINT, so nothing says which file is the firmware")

// Entrypoint is the absolute path of the firmware inside of the image.
func (i *Image) Entrypoint() (string, error) {
	c := i.Config.Config
	return Entrypoint(c.Entrypoint, c.Cmd, c.WorkingDir)
}

// Entrypoint is the absolute path of the program that a config runs: the first
// word of ENTRYPOINT and CMD, relative to the working folder. A firmware needs
// neither PATH nor an interpreter.
func Entrypoint(entrypoint, cmd []string, workingDir string) (string, error) {
	args := slices.Concat(entrypoint, cmd)
	if len(args) == 0 || args[0] == "" {
		return "", ErrNoEntrypoint
	}
	if path.IsAbs(args[0]) {
		return path.Clean(args[0]), nil
	}
	return path.Join("/", workingDir, args[0]), nil
}

// CopyFile copies the file name, an absolute path of the image, to dst, at most limit
// bytes. Links are followed as if the image were /. The layers are verified. A file
// that the image does not hold is an error that wraps fs.ErrNotExist.
func (i *Image) CopyFile(dst io.Writer, name string, limit int64) error {
	if len(name) > maxPath {
		return limitErrorf("a path of more than %d bytes", maxPath)
	}
	root, _, err := i.rootFS()
	if err != nil {
		return err
	}
	file, err := root.lookup(name, true, never)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the image holds no %s: %w", name, fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case file.typ != tar.TypeReg:
		return fmt.Errorf("%s is %s: the image must hold the firmware itself", name, file.kind())
	case file.size > limit:
		return limitErrorf("%s is %d bytes, the limit for firmware is %d", name, file.size, limit)
	}
	entry := 0
	_, err = i.layers[file.from].read(i.layout.files, newBudget(), func(h *tar.Header, content io.Reader) error {
		var err error
		if entry == file.entry {
			_, err = io.Copy(dst, content)
		}
		entry++
		return err
	})
	if err != nil {
		return i.inLayer(file.from, err)
	}
	return nil
}
