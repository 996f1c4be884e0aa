package sdk

import (
	"errors"
	"slices"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
)

// The table names boards and cores as the catalogue does, and SDKs that there are.
func TestBoards(t *testing.T) {
	all, err := parseBoards(boardsTSV)
	if err != nil {
		t.Fatal(err)
	}
	for name, boards := range all {
		if err := Known(name); err != nil {
			t.Error(err)
		}
		for _, b := range boards {
			known, err := board.Lookup(b.Board)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if known.Name() != b.Board || !slices.Contains(known.MCUs(), b.MCU) {
				t.Errorf("%s: %s with %s is in the catalogue as %s with %v", name, b.Board, b.MCU, known.Name(), known.MCUs())
			}
			if got, err := BoardOf(name, b.Board, b.MCU); got != b || err != nil {
				t.Errorf("%s %s: %v, %v; is it there twice?", name, b.Board, got, err)
			}
		}
	}
	for _, name := range Names() {
		if len(Boards(name)) == 0 {
			t.Errorf("%s has no board", name)
		}
	}
}

func TestBoardOf(t *testing.T) {
	b, err := BoardOf(Zephyr, "imx8m-mini", "cortex-m4")
	if err != nil || b.Name != "imx8mm_evk/mimx8mm6/m4" || b.Device != "" {
		t.Errorf("%v, %v", b, err)
	}
	if b, err := BoardOf(MCUXpresso, "imx8m-mini", "cortex-m4"); err != nil || b.Name != "evkmimx8mm" || b.Device != "MIMX8MM6" {
		t.Errorf("%v, %v", b, err)
	}
	_, err = BoardOf(Zephyr, "qemu-virt", "cortex-m4")
	var unsupported *UnsupportedError
	if !errors.As(err, &unsupported) || !slices.Contains(unsupported.Known, "imx8m-mini") {
		t.Errorf("%v", err)
	}
}

func TestParseBoards(t *testing.T) {
	for _, tsv := range []string{"a\tb\tc\td\n", "a\tb\tc\td\te\tf\n", "a\tb\tc\t\te\n"} {
		if _, err := parseBoards(tsv); err == nil {
			t.Errorf("%q is taken", tsv)
		}
	}
}
