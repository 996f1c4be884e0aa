package image

import (
	"fmt"
	"path"
	"strings"
)

// A packed image holds the firmware of several cores under one name, for fleets with
// more than one kind of board: engines choose images by the platform of Linux alone,
// which cannot tell two cores apart. It is the smallest thing that works under every
// engine: files /BOARD/MCU/PROGRAM in one layer, the list of targets in the
// environment (which is all that reaches a runtime), and PROGRAM as ENTRYPOINT. The
// runtime takes the first target that fits the board.

const (
	// KeyTargets lists a packed image's targets in manifest annotations and labels.
	KeyTargets = "targets"
	// EnvTargets lists them in the environment of the image config.
	EnvTargets = "HYBRID_TARGETS"
)

// maxTargets bounds the list of an untrusted image.
const maxTargets = 256

// Targets are those of a packed image, in the order in which they are tried.
type Targets []Target

// String is BOARD/MCU,BOARD/MCU,…, as it stands in images.
func (t Targets) String() string {
	var all []string
	for _, target := range t {
		all = append(all, target.String())
	}
	return strings.Join(all, ",")
}

// Path is where a packed image has the program for a target.
func (t Target) Path(program string) string {
	return path.Join("/", t.Board, t.MCU, path.Base(program))
}

// Program is a firmware in an image and the core that it is for.
type Program struct {
	Target Target
	Path   string // absolute, inside of the image
}

// programs are a packed image's, or the one of any other image.
func programs(targets Targets, own Target, entrypoint string) []Program {
	if targets == nil {
		return []Program{{own, entrypoint}}
	}
	var all []Program
	for _, t := range targets {
		all = append(all, Program{t, t.Path(entrypoint)})
	}
	return all
}

// Programs are the firmware of an image: one, or of a packed image one for each
// target.
func (i *Image) Programs() ([]Program, error) {
	entrypoint, err := i.Entrypoint()
	if err != nil {
		return nil, err
	}
	own, err := i.Target()
	if err != nil {
		return nil, err
	}
	targets, err := TargetsOfEnv(i.Config.Config.Env)
	if err != nil {
		return nil, err
	}
	return programs(targets, own, entrypoint), nil
}

// ProgramsOfEnv are those of a root file system whose process runs entrypoint with
// env: what an engine makes of an image. own is what else is known of the target.
func ProgramsOfEnv(env []string, own Target, entrypoint string) ([]Program, error) {
	targets, err := TargetsOfEnv(env)
	if err != nil {
		return nil, err
	}
	return programs(targets, own, entrypoint), nil
}

// ParseTargets parses what Targets.String makes. Each name is one path component:
// an image's list cannot lead elsewhere.
func ParseTargets(list string) (Targets, error) {
	var all Targets
	for entry := range strings.SplitSeq(list, ",") {
		board, mcu, ok := strings.Cut(entry, "/")
		if !ok || !isName(board) || !isName(mcu) {
			return nil, fmt.Errorf("%s=%q: %q is not BOARD/MCU", EnvTargets, clip(list), clip(entry))
		}
		if len(all) == maxTargets {
			return nil, fmt.Errorf("%s lists more than %d targets", EnvTargets, maxTargets)
		}
		all = append(all, Target{Board: board, MCU: mcu})
	}
	return all, nil
}

func isName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.Contains(s, "/") && len(s) <= maxName
}

// TargetsOfEnv reads the targets out of an environment, as KEY=VALUE strings; nil if
// the image is not packed.
func TargetsOfEnv(env []string) (Targets, error) {
	var list string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, EnvTargets+"="); ok {
			list = v
		}
	}
	if list == "" {
		return nil, nil
	}
	return ParseTargets(list)
}
