package builder

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/image"
)

func TestFill(t *testing.T) {
	dir := t.TempDir()
	const text = `name: team/blink
sdk: baremetal
firmware: blink.elf
args: {OPT: 1, DEBUG: true}
pack: true
targets:
  - imx8m-mini/cortex-m4
  - target: imx93-evk
    args: {OPT: 2, LIST: "a,b"}
`
	if err := os.WriteFile(filepath.Join(dir, "hybrid.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	fromFile := []string{"imx8m-mini/cortex-m4", `imx93-evk,"LIST=a,b",OPT=2`}
	for _, c := range []struct {
		name    string
		request Request
		want    Request
	}{
		{"all", Request{}, Request{
			SDK: "baremetal", Firmware: "blink.elf", Tags: []string{"team/blink"}, BuildArgs: []string{"DEBUG=true", "OPT=1"}, Targets: fromFile, Pack: true,
		}},
		{
			"flags win",
			Request{SDK: "zephyr", Firmware: "x.elf", Tags: []string{"y"}, BuildArgs: []string{"OPT=3"}, Targets: []string{"qemu-virt"}},
			Request{SDK: "zephyr", Firmware: "x.elf", Tags: []string{"y"}, BuildArgs: []string{"DEBUG=true", "OPT=3"}, Targets: []string{"qemu-virt"}},
		},
		{"argument of all targets", Request{BuildArgs: []string{"OPT=3"}}, Request{
			SDK: "baremetal", Firmware: "blink.elf", Tags: []string{"team/blink"}, BuildArgs: []string{"DEBUG=true", "OPT=3"},
			Targets: []string{"imx8m-mini/cortex-m4", `imx93-evk,"LIST=a,b"`}, Pack: true,
		}},
	} {
		c.request.Path = dir
		if err := c.request.fill(); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := c.request
		if got.SDK != c.want.SDK || got.Firmware != c.want.Firmware || !slices.Equal(got.Tags, c.want.Tags) || got.Pack != c.want.Pack ||
			!slices.Equal(got.BuildArgs, c.want.BuildArgs) || !slices.Equal(got.Targets, c.want.Targets) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
	for _, r := range []Request{
		{Target: image.Target{Board: "qemu-virt"}},
		{Outputs: []string{"type=docker,name=target,annotation[linux/arm64].board=imx8m-mini,mcu=cortex-m4"}},
		{Outputs: []string{"type=oci,mcu=cortex-m4"}},
		{Annotations: []string{"board=qemu-virt"}},
		{Annotations: []string{"manifest[linux/arm64]:board=qemu-virt"}},
		{Labels: []string{"board=qemu-virt"}},
	} {
		r.Path = dir
		if err := r.fill(); err != nil || len(r.Targets) > 0 || r.Pack {
			t.Errorf("%+v: the file's targets count though a flag names one, %v", r, err)
		}
	}
	r := Request{Path: dir, Labels: []string{"keyboard=qwerty"}, Outputs: []string{"type=oci,dest=board=x"}}
	if err := r.fill(); err != nil || len(r.Targets) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	variants, err := r.variants(nil)
	if err != nil || len(variants) != 2 || variants[1].args["LIST"] != "a,b" {
		t.Errorf("%+v, %v", variants, err)
	}
	_, err = r.variants([]image.Claim{{Where: "--x", Target: image.Target{Board: "qemu-virt"}}})
	if err == nil || !strings.Contains(err.Error(), "hybrid.yaml says board=imx8m-mini") {
		t.Errorf("error %v does not name the file", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hybrid.yaml"), []byte("name: x\ntargets: [x]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(&Request{Path: dir}); err == nil || !strings.Contains(err.Error(), `hybrid.yaml:2:11: unknown board "x"`) {
		t.Errorf("error %v", err)
	}
	for _, path := range []string{"-", "https://example.com/x.git", dir + "/none"} {
		if err := (&Request{Path: path}).fill(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
