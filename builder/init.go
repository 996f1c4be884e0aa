package builder

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/sdk"
)

// Init writes a new project of an SDK into the folder dir. It is for the target that
// is asked for, else for the first board that the SDK knows.
func Init(dir, name string, target image.Target) error {
	if err := sdk.Known(name); err != nil {
		return usageErrorf("--sdk: %w", err)
	}
	target, err := projectTarget(name, target)
	if err != nil {
		return err
	}
	p, err := sdk.NewProject(dir, name, target.Board, target.MCU)
	if err != nil {
		return usageErrorf("%w", err)
	}
	return p.Write(dir)
}

// projectTarget completes the target of a new project by the catalogue's names.
func projectTarget(name string, target image.Target) (image.Target, error) {
	boards := sdk.ProjectBoards(name)
	if target.Board == "" {
		if target.MCU != "" {
			return target, usageErrorf("--mcu %s: say which board has it, with --board", target.MCU)
		}
		return image.Target{Board: boards[0].Board, MCU: boards[0].MCU}, nil
	}
	known, err := board.Lookup(target.Board)
	if err != nil {
		return target, err
	}
	core, err := known.Core(target.MCU)
	if err != nil {
		return target, err
	}
	target = image.Target{Board: known.Name(), MCU: core.MCU}
	var names []string
	for _, b := range boards {
		names = append(names, b.Board)
	}
	if !slices.ContainsFunc(boards, func(b sdk.Board) bool { return b.Board == target.Board && b.MCU == target.MCU }) {
		return target, fmt.Errorf("there is no first project with SDK %s for %s with %s: start from one of %s",
			name, target.Board, target.MCU, strings.Join(names, ", "))
	}
	return target, nil
}
