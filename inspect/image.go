package inspect

import (
	"bytes"
	"fmt"
	"path"
	"slices"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/firmware/check"
	"github.com/hybrid-containers/hybrid/image"
)

// maxFirmware is what hybrid build takes too.
const maxFirmware = 64 << 20

// inspectLayout reads the images of the layout at name that sel means.
func inspectLayout(name string, sel selection) ([]Image, error) {
	l, err := image.Open(name)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return inspectImages(l, sel)
}

func inspectImages(l *image.Layout, sel selection) ([]Image, error) {
	found, err := l.Select(sel.tag, image.Digest(sel.digest))
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, i := range found {
		described, err := inspectImage(i, sel.target)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", i.Digest, err)
		}
		images = append(images, described)
	}
	return images, nil
}

// inspectImage fails if the image cannot be read; what is wrong with what it says is
// its Problem.
func inspectImage(i *image.Image, override Target) (Image, error) {
	img := Image{
		Name: i.Name, Digest: string(i.Digest), ConfigDigest: string(i.Manifest.Config.Digest),
		Annotations: i.Manifest.Annotations, Layers: []Layer{}, Files: []File{}, Firmware: []Firmware{}, Size: i.Manifest.Config.Size,
	}
	if i.Config.OS != "" {
		img.Platform = path.Join(i.Config.OS, i.Config.Architecture, i.Config.Variant)
	}
	files, unpacked, err := i.Files()
	if err != nil {
		return img, err
	}
	for n, l := range i.Manifest.Layers {
		img.Size += l.Size
		img.Layers = append(img.Layers, Layer{string(l.Digest), l.MediaType, l.Size, unpacked[n]})
	}
	for _, f := range files {
		img.Files = append(img.Files, File{f.Name, f.Size})
	}
	var problem error
	img.Target, problem = targetOf(i, override)
	img.Entrypoint, err = i.Entrypoint()
	problem = first(problem, err)
	targets, err := image.TargetsOfEnv(i.Config.Config.Env)
	problem = first(problem, err)
	if img.Entrypoint != "" {
		problem = first(problem, img.programs(i, targets))
	}
	if problem != nil {
		img.Problem = problem.Error()
	}
	img.Findings = img.findings()
	return img, nil
}

// programs inspects the firmware of an image: one, or of a packed image one for each
// target. What cannot be is told of the first.
func (img *Image) programs(i *image.Image, targets image.Targets) error {
	programs := []image.Program{{Target: image.Target{Board: img.Target.Board, MCU: img.Target.MCU}, Path: img.Entrypoint}}
	if targets != nil {
		programs = nil
		for _, t := range targets {
			img.Targets = append(img.Targets, t.String())
			programs = append(programs, image.Program{Target: t, Path: t.Path(img.Entrypoint)})
		}
	}
	var problem error
	for _, p := range programs {
		var content bytes.Buffer
		if err := i.CopyFile(&content, p.Path, maxFirmware); err != nil {
			problem = first(problem, err)
			continue
		}
		fw, err := inspectELF(p.Path, content.Bytes(), Target{Board: p.Target.Board, MCU: p.Target.MCU})
		if err != nil {
			problem = first(problem, err)
			continue
		}
		img.Firmware = append(img.Firmware, fw)
	}
	return problem
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// findings are those that are not about a firmware. What is beside it is told only if
// there is one.
func (img *Image) findings() []Finding {
	var found []firmware.Finding
	if n := len(img.Layers); n > 1 {
		found = append(found, firmware.Finding{Code: check.ManyLayers, Fatal: true, Message: fmt.Sprintf("the image has %d layers, firmware goes into one", n)})
	}
	var others []string
	for _, f := range img.Files {
		if !slices.ContainsFunc(img.Firmware, func(fw Firmware) bool { return fw.Path == f.Path }) {
			others = append(others, f.Path)
		}
	}
	if len(others) > 0 && len(img.Firmware) > 0 {
		found = append(found, firmware.Finding{Code: check.OtherFiles, Message: fmt.Sprintf("beside the firmware the image holds %d files (%s): no core uses them, every board downloads them", len(others), others[0])})
	}
	return findings(found)
}

// targetOf is what the image says it is for, and where; override stands in for what
// it leaves open.
func targetOf(i *image.Image, override Target) (Target, error) {
	claims := []image.Claim{
		{Where: "--board/--mcu", Target: image.Target{Board: override.Board, MCU: override.MCU}},
		{Where: "manifest annotations", Target: image.TargetOf(i.Manifest.Annotations)},
		{Where: "labels", Target: image.TargetOf(i.Config.Config.Labels)},
		{Where: "environment", Target: image.TargetOfEnv(i.Config.Config.Env)},
	}
	var said []string
	for _, c := range claims {
		if c.Target != (image.Target{}) {
			said = append(said, c.Where)
		}
	}
	t, err := image.Resolve(same, claims...)
	if err != nil {
		return Target{SaidBy: said}, err
	}
	return Target{t.Board, t.MCU, t.Processor, said}, nil
}

// same reports whether two names mean one board or core.
func same(key, a, b string) bool {
	switch key {
	case image.KeyMCU:
		return board.SameMCU(a, b)
	case image.KeyBoard:
		return board.SameBoard(a, b)
	}
	return a == b
}
