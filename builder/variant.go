package builder

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/tonistiigi/go-csvvalue"

	"github.com/hybrid-containers/hybrid/image"
)

// variant is the firmware for one core. A build has one for each of its targets.
type variant struct {
	claims []image.Claim     // about the target, from outside of the Dockerfile
	args   map[string]string // build arguments of its own
	attrs  map[string]string // of the front end

	platform v1.Platform // of the image
	target   *resolved   // known after the solve, if not before
	warnings []string
}

// name is BOARD/MCU by the catalogue's names, once the target is known.
func (v *variant) name() string {
	if v.target == nil {
		return ""
	}
	return v.target.board.Name() + "/" + v.target.core.MCU
}

// failed is err with the core that it is about, once that is known.
func (v *variant) failed(err error) error {
	if name := v.name(); name != "" {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// parseTarget parses --target-core: BOARD[/MCU][,NAME=VALUE…], with build arguments
// of that target alone.
func parseTarget(flag string) (image.Target, map[string]string, error) {
	fields, err := csvvalue.Fields(flag, nil)
	if err != nil || len(fields) == 0 || fields[0] == "" || strings.Contains(fields[0], "=") {
		return image.Target{}, nil, usageErrorf("--target-core %q: want BOARD/MCU[,NAME=VALUE…]", flag)
	}
	boardName, mcu, _ := strings.Cut(fields[0], "/")
	args, err := parseBuildArgs(fields[1:])
	if err != nil {
		return image.Target{}, nil, usageErrorf("--target-core %q: %w", flag, err)
	}
	return image.Target{Board: boardName, MCU: mcu}, args, nil
}

// variants are one for each --target-core; without any, the one that the other
// flags describe. Two for the same core are an error.
func (r *Request) variants(said []image.Claim) ([]*variant, error) {
	if len(r.Targets) == 0 {
		v := &variant{claims: append([]image.Claim{{Where: "--board/--mcu", Target: r.Target}}, said...)}
		var err error
		v.target, err = resolve(v.claims)
		return []*variant{v}, err
	}
	if r.Target != (image.Target{}) {
		return nil, usageErrorf("--target-core says the board and the core: leave --board and --mcu out")
	}
	where := r.targetsFrom
	if where == "" {
		where = "--target-core"
	}
	var all []*variant
	for _, flag := range r.Targets {
		target, args, err := parseTarget(flag)
		if err != nil {
			return nil, err
		}
		v := &variant{claims: append([]image.Claim{{Where: where, Target: target}}, said...), args: args}
		if v.target, err = resolve(v.claims); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(o *variant) bool { return o.name() == v.name() }) {
			return nil, usageErrorf("%s: target %s is given twice", where, v.name())
		}
		all = append(all, v)
	}
	return all, nil
}

// argsFor are the build arguments of a variant: what the user sets for the target
// wins over what is set for all, and both over what we know of it.
func (o *options) argsFor(v *variant) map[string]string {
	args := v.target.args()
	maps.Copy(args, o.buildArgs)
	maps.Copy(args, v.args)
	return args
}

// warn keeps a warning for the end of the build, with the core that it is about if
// there are several.
func (b *build) warn(v *variant, text string) {
	if len(b.variants) > 1 {
		text = fmt.Sprintf("%s: %s", v.name(), text)
	}
	v.warnings = append(v.warnings, text)
}
