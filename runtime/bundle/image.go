package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/image/engine"
)

// FromImage takes the firmware of an image, which is what image.ParseSource
// understands. Of several images, and of several programs in a packed one, that of
// the closest target is taken, of equals the first.
func FromImage(ctx context.Context, name string, here Host) (*Firmware, error) {
	layout, images, from, err := open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer layout.Close()
	c := choice{here: here}
	for _, i := range images {
		programs, err := i.Programs()
		if err != nil {
			target, _ := i.Target()
			c.refuse(target, err)
		}
		for _, p := range programs {
			c.consider(i, p)
		}
	}
	chosen, program, err := c.made()
	var other *OtherTargetError
	if errors.As(err, &other) {
		return nil, fmt.Errorf("image %s %w", name, other)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	f, err := snapshot(func(dst *os.File) error { return chosen.CopyFile(dst, program.Path, MaxFirmware) })
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	fw, err := parse(f, fmt.Sprintf("image %s: %s", name, program.Path), from)
	if err != nil {
		return nil, err
	}
	if from == "" {
		fw.Bundle = name // an engine's: no path
	}
	fw.Target, fw.Annotations, fw.Env = program.Target, chosen.Manifest.Annotations, chosen.Config.Config.Env
	return fw, nil
}

// open finds an image where its name says that it is; from is its path.
func open(ctx context.Context, name string) (layout *image.Layout, images []*image.Image, from string, err error) {
	source, err := image.ParseSource(name)
	if err != nil {
		return nil, nil, "", err
	}
	if source.Path != "" {
		layout, err = image.Open(source.Path)
	} else {
		var f *os.File
		if f, err = engine.Save(ctx, source.Engine, source.Name); err != nil {
			return nil, nil, "", fmt.Errorf("image %s: %w", name, err)
		}
		layout, err = image.OpenArchive(f, name)
	}
	if err != nil {
		return nil, nil, "", err
	}
	if images, err = layout.Select(source.Tag, source.Digest); err != nil {
		_ = layout.Close()
		return nil, nil, "", err
	}
	return layout, images, source.Path, nil
}
