package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/image"
)

// core is a remote processor in sysfs: what identifies it.
type core struct{ name, node, compatible string }

// onBoard is a runtime on a board with these strings and processors.
func onBoard(t *testing.T, compatible string, cores ...core) *Runtime {
	t.Helper()
	r := newRuntime(t)
	write := func(name, text string) {
		name = filepath.Join(r.Host.Root, name)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("sys/firmware/devicetree/base/compatible", strings.ReplaceAll(compatible, " ", "\x00")+"\x00")
	for n, c := range cores {
		dir := fmt.Sprintf("sys/class/remoteproc/remoteproc%d/", n)
		write(dir+"name", c.name+"\n")
		node := "sys/firmware/devicetree/base/soc/" + c.node
		write(node+"/compatible", c.compatible+"\x00")
		name, _, _ := strings.Cut(c.node, "@")
		write(node+"/name", name+"\x00")
		write(dir+"device/driver_override", "")
		if err := os.Symlink("../../../../../"+node, filepath.Join(r.Host.Root, dir, "device/of_node")); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// TestFits: which processor an image may run on, and what people are told if none.
func TestFits(t *testing.T) {
	mini := onBoard(t, "fsl,imx8mm-evk fsl,imx8mm", core{"imx-rproc", "imx8mm-cm4", "fsl,imx8mm-cm4"})
	two := onBoard(t, "fsl,imx8qm-mek fsl,imx8qm", core{"imx-rproc", "imx8qm-cm4-0", "fsl,imx8qm-cm4"}, core{"imx-rproc", "imx8qm-cm4-1", "fsl,imx8qm-cm4"})
	am64 := onBoard(t, "ti,am642-evm ti,am642",
		core{"78000000.r5f", "r5f@78000000", "ti,am64-r5f"}, core{"78200000.r5f", "r5f@78200000", "ti,am64-r5f"}, core{"5000000.m4fss", "m4fss@5000000", "ti,am64-m4fss"})
	play := onBoard(t, "beagle,am625-beagleplay ti,am625", core{"78000000.r5f", "r5f@78000000", "ti,am62-r5f"}, core{"5000000.m4fss", "m4fss@5000000", "ti,am64-m4fss"})
	genio := onBoard(t, "mediatek,mt8390-evk mediatek,mt8390 mediatek,mt8188", core{"scp", "scp@10720000", "mediatek,mt8188-scp-dual"})
	custom := onBoard(t, "acme,robot fsl,imx8mm", core{"imx-rproc", "cm4", "fsl,imx8mm-cm4"})
	for name, c := range map[string]struct {
		r      *Runtime
		target image.Target
		want   string // instances, or an error
	}{
		"by alias":         {mini, image.Target{Board: "imx8m-mini"}, "remoteproc0"},
		"by another alias": {mini, image.Target{Board: "imx8mm-evk", MCU: "cortex-m4"}, "remoteproc0"},
		"by family":        {mini, image.Target{Board: "fsl,imx8mm"}, "remoteproc0"},
		"core alone":       {mini, image.Target{MCU: "cortex-m4"}, "remoteproc0"},
		"other board":      {mini, image.Target{Board: "imx93-evk"}, "board imx93-evk wanted, this is imx8m-mini (fsl,imx8mm-evk)"},
		"other core":       {mini, image.Target{Board: "imx8m-mini", MCU: "cortex-m7"}, "core cortex-m7 wanted, this is imx8m-mini (fsl,imx8mm-evk) with remoteproc0 (imx-rproc): cortex-m4"},
		"all of a kind":    {two, image.Target{Board: "imx8qm-mek"}, "remoteproc0 remoteproc1"},
		"by instance":      {two, image.Target{Board: "imx8qm-mek", Processor: "remoteproc1"}, "remoteproc1"},
		"by node":          {two, image.Target{Board: "imx8qm-mek", Processor: "imx8qm-cm4-1"}, "remoteproc1"},
		"by a shared name": {two, image.Target{Board: "imx8qm-mek", Processor: "imx-rproc"}, "remoteproc0 remoteproc1"},
		"no such":          {two, image.Target{Board: "imx8qm-mek", Processor: "remoteproc7"}, "processor remoteproc7 wanted, what fits here is remoteproc0 (imx-rproc), remoteproc1 (imx-rproc)"},
		"by name":          {am64, image.Target{MCU: "cortex-r5f", Processor: "78200000.r5f"}, "remoteproc1"},
		"by unit":          {am64, image.Target{MCU: "cortex-r5f", Processor: "r5f@78200000"}, "remoteproc1"},
		"by a shared node": {am64, image.Target{MCU: "cortex-r5f", Processor: "r5f"}, "remoteproc0 remoteproc1"},
		"one of its name":  {am64, image.Target{MCU: "cortex-m4", Processor: "m4fss"}, "remoteproc2"},
		"pin overrides no": {am64, image.Target{MCU: "cortex-m4", Processor: "remoteproc0"}, "processor remoteproc0 wanted, what fits here is remoteproc2 (5000000.m4fss)"},
		"not ours":         {play, image.Target{MCU: "cortex-r5f"}, "core cortex-r5f wanted, this is beagleplay (beagle,am625-beagleplay) with remoteproc0 (78000000.r5f): a core that is not hybrid's to use, remoteproc1 (5000000.m4fss): cortex-m4f"},
		"vendor's alone":   {genio, image.Target{Board: "genio-700-evk"}, "this is genio-700-evk (mediatek,mt8390-evk) with remoteproc0 (scp): a core that is not hybrid's to use: no core that firmware may be put on"},
		"not in catalogue": {custom, image.Target{Board: "acme,robot", MCU: "cortex-m4"}, "remoteproc0"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := c.r.machine()
			if err != nil {
				t.Fatal(err)
			}
			fits, err := m.fits(c.target)
			var got []string
			for _, f := range fits {
				got = append(got, f.processor.Instance)
			}
			said := strings.Join(got, " ")
			if err != nil {
				said = err.Error()
			}
			if said != c.want && (err == nil || !strings.HasPrefix(said, c.want)) {
				t.Errorf("%s, want %s", said, c.want)
			}
		})
	}
}

// Boards that the system adds count, and what is wrong with others is a warning.
func TestBoardsOfTheSystem(t *testing.T) {
	r := onBoard(t, "acme,robot fsl,imx8mm", core{"own", "m7@0", "acme,own-m7"})
	dir := filepath.Join(r.Host.Root, "etc/hybrid/boards.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"bad.yaml":   "name: bad\ncores: 7\n",
		"robot.yaml": "name: acme-robot\ncompatible: acme,robot\ncores:\n- compatible: acme,own-m7\n  mcu: cortex-m7\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var warnings []string
	r.Warn = func(err error) { warnings = append(warnings, err.Error()) }
	m, err := r.machine()
	if err != nil {
		t.Fatal(err)
	}
	if fits, err := m.fits(image.Target{Board: "acme-robot", MCU: "cortex-m7"}); err != nil || len(fits) != 1 {
		t.Errorf("%v, %v", fits, err)
	}
	if len(warnings) != 1 || !strings.HasSuffix(warnings[0], "/etc/hybrid/boards.d/bad.yaml:2: cores: want a list, have a value") {
		t.Errorf("warnings %q", warnings)
	}
}
