package board

import (
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCatalogue(t *testing.T) {
	aliases, compatibles, coreless := map[string]bool{}, map[string]bool{}, 0
	for _, b := range Builtin().All() {
		for _, a := range b.Aliases {
			if aliases[a] || a == "" || a != strings.ToLower(a) {
				t.Errorf("alias %q is empty, twice or not lower case", a)
			}
			aliases[a] = true
		}
		if compatibles[b.Compatible[0]] {
			t.Errorf("%s identifies two boards", b.Compatible[0])
		}
		compatibles[b.Compatible[0]] = true
		if len(b.Cores) == 0 {
			coreless++
		}
		if b.Model == "" || b.File != "" {
			t.Errorf("%s has no model, or a file", b.Name())
		}
		for _, c := range b.Cores {
			if c.Machine != elf.EM_ARM || c.MCU == "" || c.Compatible == "" {
				t.Errorf("%s: incomplete core %+v", b.Name(), c)
			}
		}
	}
	if len(aliases) < 50 || coreless != 5 {
		t.Errorf("only %d aliases, %d boards without cores", len(aliases), coreless)
	}
}

func TestParseCatalogueRejects(t *testing.T) {
	for _, tsv := range []string{"a\tb\tc", "a\tb\tc\tno,such-core", "a\tb\tc\tfsl,imx8mm-cm4\tx"} {
		if _, err := parseCatalogue(tsv); err == nil {
			t.Errorf("%q parsed", tsv)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, name := range []string{"imx8m-mini", "imx8mm-evk", "fsl,imx8mm-evk", "FSL i.MX8MM EVK board"} {
		b, err := Lookup(name)
		if err != nil || b.Name() != "imx8m-mini" {
			t.Errorf("Lookup(%q) = %v, %v", name, b, err)
		}
	}
	for name, want := range map[string]string{
		"imx8m-mnii": `unknown board "imx8m-mnii", did you mean imx8m-mini`,
		"imx8mmini":  "imx8m-mini",
		"toaster":    `unknown board "toaster"`,
	} {
		_, err := Lookup(name)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("Lookup(%q): %v, want %q", name, err, want)
		}
	}
}

func TestCore(t *testing.T) {
	for _, c := range []struct{ board, mcu, want, err string }{
		{"imx8m-mini", "cortex-m4", "cortex-m4", ""},
		{"imx8m-mini", "", "cortex-m4", ""},
		{"beagleplay", "cortex-m4", "cortex-m4f", ""},
		{"am642-evm", "cortex-r5", "cortex-r5f", ""},
		{"am642-evm", "", "", "several kinds of core, say which: cortex-r5f, cortex-m4f"},
		{"beaglebone-black", "", "", "board beaglebone-black has no core that firmware may be put on"},
		{"genio-700-evk", "cortex-m4", "", "board genio-700-evk has no core that firmware may be put on"},
		{"imx8m-mini", "cortex-m7", "", `board imx8m-mini has no core "cortex-m7", it has cortex-m4`},
	} {
		b, err := Lookup(c.board)
		if err != nil {
			t.Fatal(err)
		}
		core, err := b.Core(c.mcu)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s/%s: %v, want %q", c.board, c.mcu, err, c.err)
			}
		case err != nil || core.MCU != c.want:
			t.Errorf("%s/%s = %v, %v", c.board, c.mcu, core, err)
		}
	}
}

func TestMemory(t *testing.T) {
	b, _ := Lookup("qemu-virt")
	if m := b.Cores[0].Memory; len(m) != 1 || m[0].Start != 0x60000000 {
		t.Errorf("qemu-virt's memory is %v", m)
	}
	if core, ok := CoreOf([]string{"st,stm32mp1-m4"}); !ok || len(core.Memory) != 3 || core.Memory[0].Name != "RETRAM" {
		t.Errorf("the virtual board's memory leaked into %+v", core)
	}
	r := Region{Start: 0x1000, Size: 0x100}
	for _, c := range []struct {
		addr, size uint64
		in         bool
	}{
		{0x1000, 0x100, true},
		{0x10ff, 1, true},
		{0x1000, 0x101, false},
		{0xfff, 1, false},
		{0x1100, 1, false},
		{0x1100, 0, true},
		{0x1001, ^uint64(0), false},
	} {
		if r.Contains(c.addr, c.size) != c.in {
			t.Errorf("Contains(%#x, %#x) = %v", c.addr, c.size, !c.in)
		}
	}
}

func TestIdentify(t *testing.T) {
	root := t.TempDir()
	if _, err := Identify(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no device tree: %v", err)
	}
	base := filepath.Join(root, "sys/firmware/devicetree/base")
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("compatible", "")
	if _, err := Identify(root); err == nil {
		t.Error("an empty compatible was accepted")
	}
	write("compatible", "fsl,imx8mm-evk\x00fsl,imx8mm\x00")
	write("model", "FSL i.MX8MM EVK board\x00")
	id, err := Identify(root)
	if err != nil {
		t.Fatal(err)
	}
	if id.String() != "imx8m-mini (fsl,imx8mm-evk)" || id.Model != "FSL i.MX8MM EVK board" {
		t.Errorf("identity %q, model %q", id, id.Model)
	}
	for _, fit := range []string{"imx8m-mini", "imx8mm-evk", "fsl,imx8mm-evk", "fsl,imx8mm", "FSL i.MX8MM EVK board"} {
		if err := id.Fits(fit); err != nil {
			t.Error(err)
		}
	}
	for _, other := range []string{"imx93-evk", "imx8mm-evkb", "nonsense", ""} {
		var mismatch *MismatchError
		if err := id.Fits(other); !errors.As(err, &mismatch) {
			t.Errorf("%q fits", other)
		} else if want := "board " + other + " wanted, this is imx8m-mini (fsl,imx8mm-evk)"; err.Error() != want {
			t.Errorf("message %q, want %q", err, want)
		}
	}
}

func TestDistance(t *testing.T) {
	robot := Identity{Compatible: []string{"acme,robot", "fsl,imx8mm-evk", "fsl,imx8mm"}, Model: "ACME Robot"}
	for want, distance := range map[string]int{"acme,robot": 0, "ACME Robot": 0, "imx8m-mini": 1, "fsl,imx8mm-evk": 1, "fsl,imx8mm": 2, "": 3, "imx8mm-evkb": -1} {
		got, err := robot.Distance(want)
		if (err == nil) != (distance >= 0) || (err == nil && got != distance) {
			t.Errorf("%q: %d, %v, want %d", want, got, err, distance)
		}
	}
}

func TestIdentityCore(t *testing.T) {
	play := Identity{Compatible: []string{"beagle,am625-beagleplay", "ti,am625"}}
	if c, ok := play.Core([]string{"ti,am64-m4fss"}); !ok || c.MCU != "cortex-m4f" {
		t.Errorf("the M4 of a BeaglePlay is %v, %v", c, ok)
	}
	if c, ok := play.Core([]string{"ti,am64-r5f"}); ok {
		t.Errorf("the R5 that runs the device manager may be touched: %v", c)
	}
	custom := Identity{Compatible: []string{"acme,robot", "ti,am625"}}
	if _, ok := custom.Core([]string{"ti,am64-r5f"}); !ok {
		t.Error("a board that is not in the catalogue has no cores")
	}
	if custom.String() != "acme,robot" || custom.Board() != nil || (Identity{}).String() != "unknown" {
		t.Errorf("custom board is %q", custom)
	}
}

// TestMemoryMaps holds what every map must be: regions inside of 32 bits that do
// not overlap, at most one of them to boot from, and views of one memory that say so.
func TestMemoryMaps(t *testing.T) {
	known := 0
	seen := map[string]bool{}
	for _, c := range cores {
		compatible, memory := c.compatible, c.memory
		if seen[compatible] {
			t.Errorf("%s is two cores", compatible)
		}
		seen[compatible] = true
		if memory != nil {
			known++
		}
		boots := 0
		for i, r := range memory {
			if r.Size == 0 || r.End() > 1<<32 {
				t.Errorf("%s: %+v is not in 32 bits", compatible, r)
			}
			if r.Kind == Boot {
				boots++
			}
			for _, other := range memory[:i] {
				if r.Start < other.End() && other.Start < r.End() {
					t.Errorf("%s: %s and %s overlap", compatible, r.Name, other.Name)
				}
				if r.Name == other.Name {
					t.Errorf("%s has two regions %s", compatible, r.Name)
				}
			}
		}
		if boots > 1 {
			t.Errorf("%s boots from %d regions", compatible, boots)
		}
	}
	if known < 17 {
		t.Errorf("only %d cores have a memory map", known)
	}
	mini, _ := Lookup("imx8m-mini")
	tcml := Region{Name: "TCML", Start: 0x1FFE0000, Size: 128 << 10, Kind: Boot, Linux: 0x7E0000}
	if m := mini.Cores[0].Memory; len(m) != 10 || m[0] != tcml || m[2].Linux != tcml.Linux {
		t.Errorf("the memory of the i.MX8M Mini is %+v", m)
	}
}

func TestPlatform(t *testing.T) {
	used := map[string]int{}
	for _, b := range Builtin().All() {
		if !slices.Contains(Platforms(), b.Platform()) {
			t.Errorf("%s: platform %s", b.Name(), b.Platform())
		}
		used[b.Platform()]++
	}
	for _, p := range Platforms() {
		if used[p] == 0 {
			t.Errorf("no board has %s", p)
		}
	}
	last := func(b *Board) string { return b.Compatible[len(b.Compatible)-1] }
	for _, chip := range armv7 {
		if !slices.ContainsFunc(Builtin().All(), func(b *Board) bool { return last(b) == chip }) {
			t.Errorf("no board has the chip %s", chip)
		}
	}
	for name, want := range map[string]string{"imx8m-mini": "linux/arm64", "stm32mp157c-dk2": "linux/arm/v7", "imx7d-sdb": "linux/arm/v7", "stm32mp257f-dk": "linux/arm64"} {
		if b, err := Lookup(name); err != nil || b.Platform() != want {
			t.Errorf("%s: %v, want %s", name, b.Platform(), want)
		}
	}
}

func TestSameBoard(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"imx8m-mini", "imx8mm-evk", true},
		{"imx8m-mini", "fsl,imx8mm-evk", true},
		{"imx8m-mini", "imx93-evk", false},
		{"nope", "nope", false},
	} {
		if got := SameBoard(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
