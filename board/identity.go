package board

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Identity is what the device tree says about the board that Linux runs on.
type Identity struct {
	Compatible []string // root node's compatible, most specific first
	Model      string   // root node's model

	catalogue *Catalogue // nil: hybrid's own
}

// known is the catalogue in which the board is looked up.
func (id Identity) known() *Catalogue {
	if id.catalogue == nil {
		return Builtin()
	}
	return id.catalogue
}

// Problems are what is wrong with the boards that are added to the system.
func (id Identity) Problems() []error { return id.known().Problems() }

// Identify reads the identity of the board from the device tree of the system
// under sysroot. A system without a device tree is an error that wraps
// fs.ErrNotExist.
func Identify(sysroot string) (Identity, error) {
	base := filepath.Join(sysroot, "sys/firmware/devicetree/base")
	compatible, err := os.ReadFile(filepath.Join(base, "compatible"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Identity{}, fmt.Errorf("this machine has no device tree, so no board to match: %w", err)
		}
		return Identity{}, err
	}
	id := Identity{Compatible: Strings(compatible), catalogue: Load(sysroot)}
	if len(id.Compatible) == 0 {
		return Identity{}, fmt.Errorf("%s is empty, so there is no board to match", filepath.Join(base, "compatible"))
	}
	if model, err := os.ReadFile(filepath.Join(base, "model")); err == nil {
		id.Model = strings.TrimRight(string(model), "\x00\n")
	}
	return id, nil
}

// Strings splits a device tree string list: strings that end in a zero byte
// (Devicetree Specification 0.4, 2.2.4).
func Strings(property []byte) []string {
	return slices.DeleteFunc(strings.Split(string(property), "\x00"), func(s string) bool { return s == "" })
}

// Board returns the catalogue's entry for this board, nil if there is none: the
// entry whose most specific string comes earliest in the board's own list.
func (id Identity) Board() *Board {
	for _, c := range id.Compatible {
		for _, b := range id.known().All() {
			if b.Compatible[0] == c {
				return b
			}
		}
	}
	return nil
}

// Name is what people call the board: the catalogue's name, else its most specific
// compatible string.
func (id Identity) Name() string {
	if b := id.Board(); b != nil {
		return b.Name()
	}
	if len(id.Compatible) == 0 {
		return "unknown"
	}
	return id.Compatible[0]
}

// String is the board's name with the string it is known by, for messages.
func (id Identity) String() string {
	if b := id.Board(); b != nil {
		return fmt.Sprintf("%s (%s)", b.Name(), b.Compatible[0])
	}
	return id.Name()
}

// MismatchError reports an image made for another board.
type MismatchError struct {
	Want string   // what the image says
	Have Identity // what the board is
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("board %s wanted, this is %s", e.Want, e.Have)
}

// Fits returns nil if an image for board want may run here: want is an alias of
// this board, its model, or one of the strings of its device tree (so that
// board=fsl,imx8mm fits every i.MX8M Mini). Else it is a *MismatchError.
func (id Identity) Fits(want string) error {
	if want == "" {
		return &MismatchError{Want: want, Have: id}
	}
	_, err := id.Distance(want)
	return err
}

// Distance is 0 if an image for board want is for this very board, and grows with what
// else it is for: the position of want in the device tree's list. An image for no
// board in particular is behind all others. What Fits refuses is a *MismatchError.
func (id Identity) Distance(want string) (int, error) {
	if want == "" {
		return len(id.Compatible), nil
	}
	known := want
	if b := id.known().find(want); b != nil {
		known = b.Compatible[0]
	}
	if n := slices.Index(id.Compatible, known); n >= 0 {
		return n, nil
	}
	if want == id.Model {
		return 0, nil
	}
	return 0, &MismatchError{Want: want, Have: id}
}

// Core returns the core that a remote processor with these compatible strings is.
// On a board of the catalogue only the cores listed for it count: the others are
// the board's own. ok is false for a processor that firmware must not be put on.
func (id Identity) Core(compatible []string) (core Core, ok bool) {
	b := id.Board()
	if b == nil {
		return CoreOf(compatible)
	}
	for _, c := range compatible {
		for _, core := range b.Cores {
			if core.Compatible == c {
				return core, true
			}
		}
	}
	return Core{}, false
}
