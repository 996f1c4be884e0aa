package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
)

// TestBoardsAdded: boards that were added are listed with their file.
func TestBoardsAdded(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, board.AdditionsDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const robot = "name: acme-robot\nmodel: ACME Robot\ncompatible: acme,robot\ncores:\n- compatible: fsl,imx8mm-cm4\n"
	if err := os.WriteFile(filepath.Join(dir, "robot.yaml"), []byte(robot), 0o644); err != nil {
		t.Fatal(err)
	}
	c := board.Load(root)
	var with, without bytes.Buffer
	if err := listBoards(&with, c.All()); err != nil {
		t.Fatal(err)
	}
	if err := listBoards(&without, board.Builtin().All()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`BOARD +ALIASES +CORES +FROM +MODEL\n`, `imx8m-mini +imx8mm-evk +cortex-m4 +hybrid +FSL i.MX8MM EVK board\n`,
		`genio-700-evk +- +- +hybrid +MediaTek`, `acme-robot +- +cortex-m4 +\S+/boards.d/robot.yaml +ACME Robot\n`,
	} {
		if !regexp.MustCompile(want).Match(with.Bytes()) {
			t.Errorf("no %s in\n%s", want, &with)
		}
	}
	if strings.Contains(without.String(), "FROM") {
		t.Errorf("without additions:\n%s", &without)
	}
	b, err := c.Lookup("acme-robot")
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	if err := showBoard(&shown, b); err != nil || !regexp.MustCompile(`From +\S+/robot.yaml\n`).Match(shown.Bytes()) {
		t.Errorf("%v\n%s", err, &shown)
	}
	if d := describe(b); !strings.HasSuffix(d.File, "/robot.yaml") || len(d.Cores) != 1 {
		t.Errorf("JSON %+v", d)
	}
}
