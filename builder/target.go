package builder

import (
	"errors"
	"maps"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/image"
)

// errNoTarget reports a build that nobody said the target of.
var errNoTarget = errors.New("no target: say which core the firmware is for with --board and --mcu, " +
	"or with LABEL board=… mcu=… in the Dockerfile")

// Build arguments that tell a Dockerfile its target, by the catalogue's names.
const (
	argBoard = "BOARD"
	argMCU   = "MCU"
)

// resolved is a target that the catalogue knows.
type resolved struct {
	image.Target // as the user wrote it, with what was left open filled in
	board        *board.Board
	core         *board.Core
}

// resolve merges what is claimed about the target and looks it up. Without any
// claim to a board the result is nil.
func resolve(claims []image.Claim) (*resolved, error) {
	t, err := image.Resolve(sameTarget, claims...)
	if err != nil {
		return nil, err
	}
	if t.Board == "" {
		return nil, nil
	}
	b, err := board.Lookup(t.Board)
	if err != nil {
		return nil, err
	}
	core, err := b.Core(t.MCU)
	if err != nil {
		return nil, err
	}
	if t.MCU == "" {
		t.MCU = core.MCU
	}
	return &resolved{Target: t, board: b, core: core}, nil
}

// sameTarget reports whether two names mean the same board or core: people may
// write one alias in a Dockerfile and another on the command line.
func sameTarget(key, a, b string) bool {
	switch key {
	case image.KeyMCU:
		return board.SameMCU(a, b)
	case image.KeyBoard:
		return board.SameBoard(a, b)
	}
	return a == b
}

// args are the build arguments that tell the Dockerfile its target.
func (r *resolved) args() map[string]string {
	if r == nil {
		return map[string]string{}
	}
	return map[string]string{argBoard: r.board.Name(), argMCU: r.core.MCU}
}

// claimsOf is what an image's own config says about the target.
func claimsOf(img *dockerspec.DockerOCIImage, dockerfile string) []image.Claim {
	return []image.Claim{
		{Where: "LABEL in " + dockerfile, Target: image.TargetOf(img.Config.Labels)},
		{Where: "ENV in " + dockerfile, Target: image.TargetOfEnv(img.Config.Env)},
	}
}

// keyed is a target by its annotation and label keys, without what is not said.
func keyed(t image.Target) map[string]string {
	m := map[string]string{image.KeyBoard: t.Board, image.KeyMCU: t.MCU, image.KeyProcessor: t.Processor}
	maps.DeleteFunc(m, func(_, v string) bool { return v == "" })
	return m
}
