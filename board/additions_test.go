package board

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// robot is an addition with everything that one may have.
const robot = `# ACME's robot, revision 2
name: acme-robot
aliases: [robot, acme-robot-v2]
compatible:
  - acme,robot      # most specific first
  - fsl,imx8mm
model: "ACME Robot: controller"
platform: linux/arm64
cores:
  - compatible: fsl,imx8mm-cm4
  - compatible: "acme,own-m7"
    mcu: cortex-m7
    memory:
      - {name: TCM, address: 0x1ffe0000, size: 128K, kind: boot, linux: 0x7e0000}
      - address: 0x20000000
        size: 65536
`

// system writes the additions of a system and returns it. A file whose text is "fifo"
// is one.
func system(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, AdditionsDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		var err error
		if file := filepath.Join(dir, name); text == "fifo" {
			err = unix.Mkfifo(file, 0o644)
		} else {
			err = os.WriteFile(file, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestAddition(t *testing.T) {
	c := Load(system(t, map[string]string{"robot.yaml": robot, "README": "text", "old.yaml~": "text", ".swp.yaml": "text"}))
	if p := c.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	if n, builtin := len(c.All()), len(Builtin().All()); n != builtin+1 {
		t.Fatalf("%d boards, want %d and one", n, builtin)
	}
	for _, name := range []string{"acme-robot", "robot", "acme,robot", "ACME Robot: controller"} {
		b, err := c.Lookup(name)
		if err != nil || b.Name() != "acme-robot" {
			t.Fatalf("%s: %v, %v", name, b, err)
		}
	}
	b, _ := c.Lookup("robot")
	if !slices.Equal(b.MCUs(), []string{"cortex-m4", "cortex-m7"}) || b.Platform() != "linux/arm64" || !strings.HasSuffix(b.File, "/boards.d/robot.yaml") {
		t.Errorf("board %+v", b)
	}
	known, _ := coreOf("fsl,imx8mm-cm4")
	if !slices.Equal(b.Cores[0].Memory, known.Memory) {
		t.Errorf("the memory of a core of the catalogue is %+v", b.Cores[0].Memory)
	}
	want := []Region{{"TCM", 0x1ffe0000, 128 << 10, Boot, 0x7e0000}, {"0x20000000", 0x20000000, 64 << 10, RAM, 0}}
	if m := b.Cores[1]; !slices.Equal(m.Memory, want) || m.Machine != known.Machine {
		t.Errorf("the core %+v", m)
	}
	var unknown *UnknownError
	if _, err := c.Lookup("acme-robt"); !errors.As(err, &unknown) || !slices.Contains(unknown.Near, "acme-robot") {
		t.Errorf("a name that is nearly it: %v", err)
	}
}

// An image for a board that was added fits there, one for the family does, and one for
// another board of it does not.
func TestIdentifyAddition(t *testing.T) {
	root := system(t, map[string]string{"robot.yaml": robot, "bad.yaml": "name: bad\n"})
	base := filepath.Join(root, "sys/firmware/devicetree/base")
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "compatible"), []byte("acme,robot\x00fsl,imx8mm\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	id, err := Identify(root)
	if err != nil {
		t.Fatal(err)
	}
	if id.String() != "acme-robot (acme,robot)" || len(id.Problems()) != 1 {
		t.Errorf("%s, problems %v", id, id.Problems())
	}
	for want, fits := range map[string]bool{"robot": true, "acme,robot": true, "fsl,imx8mm": true, "imx8m-mini": false} {
		if err := id.Fits(want); (err == nil) != fits {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := id.Fits("imx8m-mini"); err == nil || err.Error() != "board imx8m-mini wanted, this is acme-robot (acme,robot)" {
		t.Errorf("%v", err)
	}
	if core, ok := id.Core([]string{"acme,own-m7"}); !ok || core.MCU != "cortex-m7" {
		t.Errorf("its own core is %+v, %v", core, ok)
	}
	if _, ok := id.Core([]string{"fsl,imx93-cm33"}); ok {
		t.Error("a core that the file does not list may be used")
	}
}

// A bad file is a problem with a line; the others count.
func TestAdditionProblems(t *testing.T) {
	change := func(old, new string) string {
		if strings.Count(robot, old) != 1 {
			t.Fatalf("%q is not there once", old)
		}
		return strings.Replace(robot, old, new, 1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"no YAML":          {"name: [", "bad.yaml:1: no closing ]"},
		"empty":            {"# nothing\n", "bad.yaml:1: a board: want KEY: VALUE, have nothing"},
		"a list":           {"- name: x\n", "bad.yaml:1: a board: want KEY: VALUE, have a list"},
		"unknown key":      {change("model:", "modell:"), `bad.yaml:7: unknown key "modell", want one of aliases, compatible, cores, model, name, platform`},
		"unknown in core":  {change("    mcu:", "    cpu:"), `bad.yaml:12: unknown key "cpu", want one of compatible, mcu, memory`},
		"unknown in map":   {change("        size:", "        length:"), `bad.yaml:16: unknown key "length", want one of address, kind, linux, name, size`},
		"no name":          {change("name: acme-robot\n", "\n"), "bad.yaml: no name"},
		"odd name":         {change("name: acme-robot\n", "name: ../robot\n"), `bad.yaml:2: name: "../robot": want lower-case letters`},
		"capitals":         {change("name: acme-robot\n", "name: ACME\n"), `bad.yaml:2: name: "ACME": want lower-case letters`},
		"name is taken":    {change("name: acme-robot\n", "name: imx8m-mini\n"), "bad.yaml: the name imx8m-mini is taken by imx8m-mini (fsl,imx8mm-evk)"},
		"alias is taken":   {change("[robot,", "[imx8mm-evk,"), "bad.yaml: the name imx8mm-evk is taken by imx8m-mini (fsl,imx8mm-evk)"},
		"alias is name":    {change("[robot,", "[acme-robot,"), "bad.yaml: the alias acme-robot is the name"},
		"alias twice":      {change("[robot,", "[acme-robot-v2,"), "bad.yaml:3: aliases: acme-robot-v2 is there twice"},
		"board is there":   {change("- acme,robot ", "- fsl,imx8mm-evk "), "bad.yaml: fsl,imx8mm-evk is imx8m-mini already"},
		"no compatible":    {"name: x\ncores: []\n", "bad.yaml: no compatible: the strings"},
		"in brackets":      {"name: x\ncompatible: [acme,robot]\n", `bad.yaml:2: compatible: "acme": want VENDOR,DEVICE as the device tree has it; in brackets, in quotes`},
		"compatible twice": {change("- fsl,imx8mm\n", "- acme,robot\n"), "bad.yaml:6: compatible: acme,robot is there twice"},
		"mapping":          {change("model: \"ACME Robot: controller\"", "model:\n  a: b"), "bad.yaml:8: model: want a value, have a mapping"},
		"null":             {change("model: \"ACME Robot: controller\"", "model:"), "bad.yaml:7: model: want a value, have nothing"},
		"platform":         {change("linux/arm64", "linux/riscv64"), `bad.yaml:8: platform: "linux/riscv64": want one of linux/arm64, linux/arm/v7`},
		"no cores":         {"name: x\ncompatible: a,b\ncores: []\n", "bad.yaml: no cores: the processors"},
		"cores a value":    {"name: x\ncompatible: a,b\ncores: all\n", "bad.yaml:3: cores: want a list, have a value"},
		"core a value":     {"name: x\ncompatible: a,b\ncores:\n- fsl,imx8mm-cm4\n", "bad.yaml:4: a core: want KEY: VALUE, have a value"},
		"core without":     {"name: x\ncompatible: a,b\ncores:\n- mcu: cortex-m4\n", "bad.yaml:4: a core without compatible"},
		"core twice":       {"name: x\ncompatible: a,b\ncores:\n- compatible: fsl,imx8mm-cm4\n- compatible: fsl,imx8mm-cm4\n", "bad.yaml:5: core fsl,imx8mm-cm4 is there twice"},
		"core unknown":     {change("    mcu: cortex-m7\n", ""), "bad.yaml:11: core acme,own-m7 is not in the catalogue: say its mcu, one of cortex-m33, "},
		"mcu unknown":      {change("cortex-m7", "cortex-m99"), `bad.yaml:12: mcu: "cortex-m99": want one of cortex-m33, `},
		"mcu contradicts":  {change("- compatible: fsl,imx8mm-cm4\n", "- compatible: fsl,imx8mm-cm4\n    mcu: cortex-m7\n"), "bad.yaml:10: core fsl,imx8mm-cm4 is a cortex-m4, not a cortex-m7"},
		"no size":          {change("        size: 65536\n", ""), "bad.yaml:15: a region of memory without size"},
		"bad size":         {change("65536", "64kB"), `bad.yaml:16: size: "64kB": want a number like 0x20000000, 131072 or 128K`},
		"size overflows":   {change("65536", "99999999999999G"), `bad.yaml:16: size: "99999999999999G": want a number`},
		"beyond 32 bits":   {change("0x20000000", "0xffff8001"), "bad.yaml:15: a region of memory beyond 32 bits"},
		"overlap":          {change("0x20000000", "0x1fff0000"), "bad.yaml:15: TCM and 0x1fff0000 overlap"},
		"kind":             {change("boot", "rom"), `bad.yaml:14: kind: "rom": want one of ram, code, boot, data, flash, ddr`},
		"fifo":             {"fifo", "bad.yaml: not a regular file"},
		"large":            {strings.Repeat("#", maxAddition+1), "bad.yaml: more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			loaded := Load(system(t, map[string]string{
				"bad.yaml": c.text, "other.yml": "", "zzz.yaml": "name: good\ncompatible: acme,good\ncores:\n- compatible: fsl,imx8mm-cm4\n",
			}))
			problems := loaded.Problems()
			if len(problems) != 2 || !strings.Contains(problems[0].Error(), c.want) || !strings.Contains(problems[1].Error(), "other.yml: not read: want a name that ends in .yaml") {
				t.Errorf("problems %v, want %q", problems, c.want)
			}
			if _, err := loaded.Lookup("good"); err != nil || len(loaded.All()) != len(Builtin().All())+1 {
				t.Errorf("%d boards, %v", len(loaded.All()), err)
			}
		})
	}
}

// Two files with one name: the first counts.
func TestAdditionTwice(t *testing.T) {
	c := Load(system(t, map[string]string{"a.yaml": robot, "b.yaml": robot}))
	if p := c.Problems(); len(p) != 1 || !strings.Contains(p[0].Error(), "b.yaml: acme,robot is acme-robot already in ") || !strings.HasSuffix(p[0].Error(), "/a.yaml") {
		t.Errorf("problems %v", p)
	}
	if p := Load(t.TempDir()).Problems(); len(p) > 0 {
		t.Errorf("without additions: %v", p)
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/hybrid"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, AdditionsDir), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if p := Load(root).Problems(); len(p) != 1 || !strings.Contains(p[0].Error(), "boards.d: not a directory") {
		t.Errorf("the folder is a file: %v", p)
	}
}

// FuzzAddition reads additions of any text.
func FuzzAddition(f *testing.F) {
	f.Add(robot)
	f.Add("name: x\ncompatible: a,b\ncores: [{compatible: \"c,d\", mcu: cortex-m4, memory: [{address: 0, size: 1G}]}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := &Catalogue{}
		err := c.addBoard("x.yaml", text)
		if (err == nil) != (len(c.boards) == 1) {
			t.Fatalf("%v, and %d boards", err, len(c.boards))
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			return
		}
		b := c.boards[0]
		for _, a := range b.Aliases {
			if checkName(a) != nil || strings.Contains(a, "/") {
				t.Errorf("alias %q", a)
			}
		}
		for _, core := range b.Cores {
			for _, r := range core.Memory {
				if r.Size == 0 || r.End() > 1<<32 {
					t.Errorf("region %+v", r)
				}
			}
		}
	})
}

// The example of the documents is one.
func TestDocumentedAddition(t *testing.T) {
	doc, err := os.ReadFile("../docs/boards.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "```yaml\n")
	text, _, ok := strings.Cut(text, "```\n")
	c := &Catalogue{}
	if err := c.addBoard("robot.yaml", text); err != nil || !ok {
		t.Fatal(err)
	}
	if b := c.boards[0]; b.Name() != "acme-robot" || len(b.Cores) != 2 || len(b.Cores[1].Memory) != 2 {
		t.Errorf("board %+v", b)
	}
}
