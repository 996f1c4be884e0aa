// Package board knows the boards and their remote processors: the names people
// write, the device-tree strings by which Linux knows the same things, and the
// memory a core can be loaded into.
//
// A board is identified by the compatible strings of the device tree's root, a
// core by the compatible strings of its own node. Neither is ever identified by
// the name attribute of remoteproc, which changed between kernels.
package board

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
)

//go:embed catalogue.tsv
var catalogueTSV string

// Board is one entry of the catalogue.
type Board struct {
	// Aliases are the names people write (board=ALIAS), never empty; the first is
	// the one hybrid prints.
	Aliases []string
	// Compatible identifies the board: compatible strings of the device tree's
	// root, most specific first (Devicetree Specification 0.4, 2.3.1).
	Compatible []string
	// Model is the device tree's model string, accepted as another alias.
	Model string
	// Cores are the remote processors that firmware may be put on, one entry for
	// each compatible string. Some boards have none: what is on them is not Arm's, or
	// takes its vendor's firmware alone.
	Cores []Core
	// File is where the board was added; empty in hybrid's own catalogue.
	File string

	platform string // of the file
}

// Name is the board's first alias.
func (b *Board) Name() string { return b.Aliases[0] }

// MCUs are the kinds of core of the board, in catalogue order, without repeats.
func (b *Board) MCUs() []string {
	var mcus []string
	for _, c := range b.Cores {
		if !slices.Contains(mcus, c.MCU) {
			mcus = append(mcus, c.MCU)
		}
	}
	return mcus
}

// Core returns the board's core of kind mcu. An empty mcu means the board's only
// kind, and is an error where there are several.
func (b *Board) Core(mcu string) (*Core, error) {
	mcus := b.MCUs()
	if len(mcus) == 0 {
		return nil, fmt.Errorf("board %s has no core that firmware may be put on", b.Name())
	}
	if mcu == "" {
		if len(mcus) > 1 {
			return nil, fmt.Errorf("board %s has several kinds of core, say which: %s", b.Name(), strings.Join(mcus, ", "))
		}
		return &b.Cores[0], nil
	}
	for i := range b.Cores {
		if SameMCU(b.Cores[i].MCU, mcu) {
			return &b.Cores[i], nil
		}
	}
	return nil, fmt.Errorf("board %s has no core %q, it has %s", b.Name(), mcu, strings.Join(mcus, ", "))
}

// Catalogue is a list of boards: hybrid's own, and those that a system adds.
type Catalogue struct {
	boards   []*Board
	problems []error
}

// Builtin is hybrid's own catalogue. It is shared: read only.
func Builtin() *Catalogue { return builtin() }

var builtin = sync.OnceValue(func() *Catalogue {
	boards, err := parseCatalogue(catalogueTSV)
	if err != nil {
		panic(err) // the catalogue is part of the program, and a test parses it
	}
	return &Catalogue{boards: boards}
})

// Load is hybrid's own catalogue with what is added on the system under sysroot.
func Load(sysroot string) *Catalogue {
	c := &Catalogue{boards: slices.Clone(Builtin().boards)}
	c.add(filepath.Join(sysroot, AdditionsDir))
	return c
}

// here is the catalogue of this machine.
var here = sync.OnceValue(func() *Catalogue { return Load("/") })

// All are the boards in their order. The entries are shared: read only.
func (c *Catalogue) All() []*Board { return c.boards }

// Problems are what is wrong with additions, each a *ProblemError. They are warnings:
// the boards that are not concerned are there.
func (c *Catalogue) Problems() []error { return c.problems }

// All are the boards that this machine knows.
func All() []*Board { return here().All() }

// Problems are what is wrong with the boards that are added to this machine.
func Problems() []error { return here().Problems() }

// UnknownError reports a board name that is not in the catalogue.
type UnknownError struct {
	Name string
	Near []string // aliases that look alike, nearest first; may be empty
}

func (e *UnknownError) Error() string {
	if len(e.Near) > 0 {
		return fmt.Sprintf("unknown board %q, did you mean %s?", e.Name, strings.Join(e.Near, " or "))
	}
	return fmt.Sprintf("unknown board %q: hybrid boards lists those that there are", e.Name)
}

// Lookup finds a board by alias, by its most specific compatible string or by
// its model string. Anything else is an *UnknownError.
func (c *Catalogue) Lookup(name string) (*Board, error) {
	if b := c.find(name); b != nil {
		return b, nil
	}
	return nil, &UnknownError{Name: name, Near: c.near(name)}
}

// find is Lookup for names of images, which may be anything: nothing is asked but
// whether they are known.
func (c *Catalogue) find(name string) *Board {
	for _, b := range c.boards {
		if slices.Contains(b.Aliases, name) || b.Compatible[0] == name || (b.Model == name && name != "") {
			return b
		}
	}
	return nil
}

// Lookup finds a board that this machine knows.
func Lookup(name string) (*Board, error) { return here().Lookup(name) }

// SameBoard reports whether two names mean one board that this machine knows.
func SameBoard(a, b string) bool {
	x, errX := Lookup(a)
	y, errY := Lookup(b)
	return errX == nil && errY == nil && x == y
}

// near returns at most three aliases within an edit distance of a third of the
// name, nearest first.
func (c *Catalogue) near(name string) []string {
	type match struct {
		alias string
		d     int
	}
	var found []match
	for _, b := range c.boards {
		for _, a := range b.Aliases {
			if d := distance(strings.ToLower(name), a); d <= max(2, len(a)/3) {
				found = append(found, match{a, d})
			}
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].d < found[j].d })
	var aliases []string
	for _, m := range found[:min(3, len(found))] {
		aliases = append(aliases, m.alias)
	}
	return aliases
}

// distance is the Levenshtein distance between a and b, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func parseCatalogue(tsv string) ([]*Board, error) {
	var boards []*Board
	for n, line := range strings.Split(tsv, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("catalogue.tsv:%d: %d columns, want 4", n+1, len(f))
		}
		b := &Board{Aliases: strings.Split(f[0], ","), Compatible: strings.Split(f[1], ";"), Model: f[2]}
		for compatible := range strings.SplitSeq(f[3], ";") {
			if compatible == "-" {
				continue
			}
			core, ok := coreOf(compatible)
			if !ok {
				return nil, fmt.Errorf("catalogue.tsv:%d: core %q is not in cores.go", n+1, compatible)
			}
			if memory, ok := boardMemory[b.Aliases[0]]; ok {
				core.Memory = memory
			}
			b.Cores = append(b.Cores, core)
		}
		boards = append(boards, b)
	}
	return boards, nil
}
