package sdk

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed boards.tsv
var boardsTSV string

// Board is what an SDK calls a board of the catalogue.
type Board struct {
	Board  string `json:"board"`            // the catalogue's name
	MCU    string `json:"mcu"`              // the catalogue's core
	Name   string `json:"name"`             // the SDK's name of the board
	Device string `json:"device,omitempty"` // the SDK's name of the chip; "": it follows from the board
}

// Boards are those that the SDK name can build for.
func Boards(name string) []Board { return slices.Clone(boards()[name]) }

// UnsupportedError reports a core that an SDK has no board for.
type UnsupportedError struct {
	SDK, Board, MCU string
	Known           []string // boards that it has one for
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("SDK %s knows no board %s with %s: name its own board with --build-arg %s=…, or take one of: %s",
		e.SDK, e.Board, e.MCU, ArgBoard, strings.Join(e.Known, ", "))
}

// BoardOf is what the SDK name calls the core mcu of a board, both by the
// catalogue's names. Else the error is an *UnsupportedError.
func BoardOf(name, board, mcu string) (Board, error) {
	e := &UnsupportedError{SDK: name, Board: board, MCU: mcu}
	for _, b := range boards()[name] {
		if b.Board == board && b.MCU == mcu {
			return b, nil
		}
		e.Known = append(e.Known, b.Board)
	}
	return Board{}, e
}

// boards by SDK, in the order of the table.
var boards = sync.OnceValue(func() map[string][]Board {
	parsed, err := parseBoards(boardsTSV)
	if err != nil {
		panic(err) // the table is part of the program, and a test parses it
	}
	return parsed
})

func parseBoards(tsv string) (map[string][]Board, error) {
	parsed := map[string][]Board{}
	n := 0
	for line := range strings.Lines(tsv) {
		n++
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 5 || slices.Contains(f, "") {
			return nil, fmt.Errorf("boards.tsv:%d: want 5 columns, none of them empty", n)
		}
		if f[4] == "-" {
			f[4] = ""
		}
		for board := range strings.SplitSeq(f[1], ",") {
			parsed[f[0]] = append(parsed[f[0]], Board{Board: board, MCU: f[2], Name: f[3], Device: f[4]})
		}
	}
	return parsed, nil
}
