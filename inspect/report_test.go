package inspect

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test ./inspect -update):\n%s\nwant\n%s", name, got, want)
	}
}

func open(t *testing.T, name string, target Target) *Report {
	t.Helper()
	r, err := Open(t.Context(), name, target)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func textOf(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var mini = Target{Board: "imx8m-mini"}

func TestText(t *testing.T) {
	broken := hello()
	broken.Segments[0].Data[4] = 0x40 // no Thumb bit
	broken.Segments[3].Addr = 0x2F000000
	for name, c := range map[string]struct {
		source string
		target Target
	}{
		"elf.txt":     {write(t, "hello.elf", hello().Bytes()), mini},
		"unknown.txt": {write(t, "hello.elf", hello().Bytes()), Target{}},
		"broken.txt":  {write(t, "hello.elf", broken.Bytes()), mini},
		"script.txt":  {write(t, "hello.elf", []byte("\x7fELF and nothing else")), mini},
		"image.txt":   {layoutOf(t, helloImage(t)), Target{}},
		"messy.txt": {layoutOf(t, imageOf(t, "imx8m-mini", "cortex-m4", "hello.elf",
			layerOf(t, "hello.elf", string(hello().Bytes()), "doc/LICENSE", "free"), layerOf(t, "b\x1b[2J", "x"))), Target{}},
		"packed.txt": {layoutOf(t, packedImage(t)), Target{}},
		"empty.txt":  {layoutOf(t, imageOf(t, "", "", "", layerOf(t))), Target{}},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, textOf(t, open(t, c.source, c.target))) })
	}
}

func TestJSON(t *testing.T) {
	r := open(t, layoutOf(t, helloImage(t)), Target{})
	r.Source = "hello"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		t.Fatal(err)
	}
	golden(t, "image.json", b.String())
}

// TestUsage: initialised data counts where it waits and where it is used, aliases
// count for the memory that they are views of, and nothing counts twice.
func TestUsage(t *testing.T) {
	used := func(f elftest.File) map[string]uint64 {
		m := map[string]uint64{}
		for _, r := range open(t, write(t, "a.elf", f.Bytes()), mini).Firmware.Memory {
			m[r.Name] = r.Used
		}
		return m
	}
	m := used(hello())
	if m["TCML"] != 0x440 || m["TCML (alias)"] != 0x440 || m["TCMU"] != uint64(len(hello().Table))+0x8000+0x40 || m["OCRAM"] != 0 {
		t.Errorf("used %v", m)
	}
	alias := hello()
	alias.Segments[1].Addr = 0x400 // through the alias of TCML
	if m := used(alias); m["TCML"] != 0x440 {
		t.Errorf("used through an alias: %v", m)
	}
	across := hello()
	across.Segments = append(across.Segments, elftest.Segment{Addr: tcmu - 0x10, MemSize: 0x20})
	if m := used(across); m["TCML"] != 0x450 {
		t.Errorf("used across a border: %v", m)
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		used, size uint64
		want       string
	}{
		{0, 100, "[------------------------]"},
		{1, 100000, "[#-----------------------]"},
		{50, 100, "[############------------]"},
		{100, 100, "[########################]"},
		{300, 100, "[########################]"},
		{0, 0, "[------------------------]"},
	} {
		if got := bar(c.used, c.size); got != c.want {
			t.Errorf("bar(%d, %d) = %s", c.used, c.size, got)
		}
	}
}

func TestChanges(t *testing.T) {
	changed := hello()
	changed.Segments[0].Data = append(changed.Segments[0].Data, make([]byte, 0x20)...)
	changed.Segments[1].Addr += 0x20
	changed.Segments[3].MemSize += 0x1000
	changed.Sections[1].Size += 0x20
	changed.Sections[3].Size += 0x1000
	changed.Table = elftest.Table(elftest.Carveout(0xB8000000, 0x8000, "vdev0vring0"), elftest.Vdev(7, 2, 100))
	changed.Segments[2].Data = changed.Table
	from, to := write(t, "a.elf", hello().Bytes()), write(t, "a.elf", changed.Bytes())
	var b bytes.Buffer
	if err := WriteChanges(&b, "a.elf", "b.elf", Changes(open(t, from, mini), open(t, to, mini))); err != nil {
		t.Fatal(err)
	}
	golden(t, "elf.diff", b.String())

	image := func(f elftest.File) *Report {
		return open(t, layoutOf(t, helloImage(t), imageOf(t, "qemu-virt", "cortex-m4", "hello.elf", layerOf(t, "hello.elf", string(f.Bytes())))), Target{})
	}
	b.Reset()
	if err := WriteChanges(&b, "one", "two", Changes(image(hello()), image(changed))); err != nil {
		t.Fatal(err)
	}
	golden(t, "image.diff", b.String())
	b.Reset()
	packed := open(t, layoutOf(t, packedImage(t)), Target{})
	if err := WriteChanges(&b, "one", "packed", Changes(open(t, layoutOf(t, helloImage(t)), Target{}), packed)); err != nil {
		t.Fatal(err)
	}
	golden(t, "packed.diff", b.String())
	if c := Changes(image(hello()), image(hello())); len(c) != 0 {
		t.Errorf("nothing changed, but %+v", c)
	}
}

// packedImage has the firmware of two cores, and one that is missing.
func packedImage(t *testing.T) v1.Image {
	img := imageOf(t, "", "", "hello.elf", layerOf(t,
		"imx8m-mini/cortex-m4/hello.elf", string(hello().Bytes()), "stm32mp157c-dk2/cortex-m4/hello.elf", string(hello().Bytes())))
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config.Env = []string{"HYBRID_TARGETS=imx8m-mini/cortex-m4,stm32mp157c-dk2/cortex-m4,imx93-evk/cortex-m33"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// TestPacked: all firmware of a packed image is checked, each for its own core.
func TestPacked(t *testing.T) {
	i := open(t, layoutOf(t, packedImage(t)), Target{}).Images[0]
	if len(i.Firmware) != 2 || len(i.Targets) != 3 || len(i.Findings) != 0 {
		t.Fatalf("image %+v", i)
	}
	if fw := i.Firmware[0]; fw.Core.Board != "imx8m-mini" || len(fw.Findings) != 0 {
		t.Errorf("first %+v", fw)
	}
	if fw := i.Firmware[1]; fw.Core.Board != "stm32mp157c-dk2" || len(fw.Findings) == 0 || fw.Findings[0].Code != "HB004" {
		t.Errorf("second %+v", fw)
	}
	if i.Problem != "the image holds no /imx93-evk/cortex-m33/hello.elf: file does not exist" {
		t.Errorf("problem %q", i.Problem)
	}
}

// TestProblems: what an image lacks is said in its report, and the rest is shown.
func TestProblems(t *testing.T) {
	elf := string(hello().Bytes())
	conflict := imageOf(t, "imx8m-mini", "cortex-m4", "hello.elf", layerOf(t, "hello.elf", elf))
	for want, img := range map[string]v1.Image{
		"the image has no ENTRYPOINT":                               imageOf(t, "imx8m-mini", "cortex-m4", "", layerOf(t, "hello.elf", elf)),
		"the image holds no /b.elf":                                 imageOf(t, "imx8m-mini", "cortex-m4", "b.elf", layerOf(t, "hello.elf", elf)),
		`unknown board "imx8m-mnii"`:                                imageOf(t, "imx8m-mnii", "cortex-m4", "hello.elf", layerOf(t, "hello.elf", elf)),
		`has no core "cortex-m7"`:                                   imageOf(t, "imx8m-mini", "cortex-m7", "hello.elf", layerOf(t, "hello.elf", elf)),
		"contradicting targets: --board/--mcu says board=qemu-virt": conflict,
	} {
		target := Target{}
		if img == conflict {
			target.Board = "qemu-virt"
		}
		r := open(t, layoutOf(t, img), target)
		if i := r.Images[0]; !strings.Contains(i.Problem, want) || len(i.Files) != 1 {
			t.Errorf("problem %q, files %v, want %q", i.Problem, i.Files, want)
		}
	}
}

func FuzzELF(f *testing.F) {
	f.Add(hello().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, target := range []Target{{}, mini, {Board: "am642-evm", MCU: "cortex-r5f"}} {
			fw, err := inspectELF("a.elf", b, target)
			if err != nil {
				t.Fatal(err)
			}
			r := &Report{Firmware: &fw}
			if len(Changes(r, r)) != 0 {
				t.Errorf("differs from itself: %+v", Changes(r, r))
			}
			for _, m := range fw.Memory {
				if m.Used > m.Size {
					t.Errorf("%s: %d of %d used", m.Name, m.Used, m.Size)
				}
			}
			textOf(t, r)
		}
	})
}
