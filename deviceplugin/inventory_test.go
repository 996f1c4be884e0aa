package deviceplugin

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

func TestLook(t *testing.T) {
	for name, c := range map[string]struct {
		compatible string
		cores      []core
		want       string // the board, then devices
	}{
		"one":                       {"fsl,imx8mm-evk fsl,imx8mm", []core{mini}, "imx8m-mini imx8mm-cm4:hybrid.dev/cortex-m4"},
		"two of a kind":             {"fsl,imx8qm-mek fsl,imx8qm", []core{first, other}, "imx8qm-mek imx8qm-cm4-0:hybrid.dev/cortex-m4 imx8qm-cm4-1:hybrid.dev/cortex-m4"},
		"two kinds":                 {"ti,am642-evm ti,am642", []core{r5, m4f}, "am642-evm r5f@78000000:hybrid.dev/cortex-r5 m4fss@5000000:hybrid.dev/cortex-m4"},
		"not ours":                  {"mediatek,mt8390-evk mediatek,mt8390 mediatek,mt8188", []core{{"scp", "scp@10720000", "mediatek,mt8188-scp-dual"}}, "genio-700-evk"},
		"a board of nobody":         {"acme,robot fsl,imx8mm", []core{mini}, "acme,robot imx8mm-cm4:hybrid.dev/cortex-m4"},
		"a node that is a name":     {"fsl,imx8qm-mek fsl,imx8qm", []core{{"a", "b", "fsl,imx8qm-cm4"}, {"b", "c", "fsl,imx8qm-cm4"}}, "imx8qm-mek remoteproc0:hybrid.dev/cortex-m4 c:hybrid.dev/cortex-m4"},
		"a node of a long name":     {"fsl,imx8mm-evk fsl,imx8mm", []core{{"x", strings.Repeat("x", 64), "fsl,imx8mm-cm4"}}, "imx8m-mini remoteproc0:hybrid.dev/cortex-m4"},
		"without remote processors": {"fsl,imx8mm-evk fsl,imx8mm", nil, "imx8m-mini"},
	} {
		found, err := look(newDesk(t, c.compatible, c.cores...).host())
		got := found.board
		for _, d := range found.devices {
			got += " " + d.id + ":" + d.resource + d.trouble
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
	if found, err := look(remoteproc.Host{Root: t.TempDir()}); err != nil || found.board != "" || found.devices != nil {
		t.Errorf("no device tree: %+v, %v", found, err)
	}
	d := newDesk(t, "fsl,imx8mm-evk fsl,imx8mm")
	d.write("sys/firmware/devicetree/base/compatible", "")
	if _, err := look(d.host()); err == nil {
		t.Error("an empty device tree is a board")
	}
}

// The name of a processor is what the runtime takes for it, however the drivers come up.
func TestStableName(t *testing.T) {
	one := newDesk(t, "fsl,imx8qm-mek fsl,imx8qm", first, other)
	two := newDesk(t, "fsl,imx8qm-mek fsl,imx8qm", other, first)
	for _, d := range []*desk{one, two} {
		found, err := look(d.host())
		if err != nil || len(found.devices) != 2 {
			t.Fatalf("%+v, %v", found, err)
		}
		for _, dev := range found.devices {
			p, err := d.host().Processor(dev.instance)
			if err != nil || !p.Is(dev.id) || p.Node != dev.id {
				t.Errorf("%s is %s: %v", dev.instance, dev.id, err)
			}
		}
	}
}

func TestTrouble(t *testing.T) {
	docker := claim.Owner{Holder: claim.Holder{ID: "web", Root: "/run/docker"}}
	ours := docker
	ours.Resource = "hybrid.dev/cortex-m4"
	dead := docker
	dead.Dead = true
	const taken = "container web of /run/docker has it, which did not ask Kubernetes"
	for _, c := range []struct {
		state remoteproc.State
		owner claim.Owner
		want  string
	}{
		{remoteproc.Offline, claim.Owner{}, ""},
		{remoteproc.Detached, claim.Owner{}, ""},
		{remoteproc.Running, claim.Owner{}, "it is running, and no container started it"},
		{remoteproc.Attached, claim.Owner{}, "it is attached, and no container started it"},
		{remoteproc.Crashed, claim.Owner{}, "it is crashed, and no container started it"},
		{remoteproc.Suspended, claim.Owner{}, "it is suspended, and no container started it"},
		{remoteproc.Invalid, claim.Owner{}, "it is invalid, and no container started it"},
		{remoteproc.Running, ours, ""},
		{remoteproc.Crashed, ours, ""},
		{remoteproc.Offline, ours, ""}, // created, not started
		{remoteproc.Running, docker, taken},
		{remoteproc.Offline, docker, taken},
		{remoteproc.Running, dead, ""},
		{remoteproc.Crashed, dead, ""},
	} {
		if got := trouble(c.state, c.owner); got != c.want {
			t.Errorf("%s, %+v: %q, want %q", c.state, c.owner, got, c.want)
		}
	}
}

func TestHealth(t *testing.T) {
	d := newDesk(t, "fsl,imx8mm-evk fsl,imx8mm", mini)
	want := func(want string) {
		t.Helper()
		found, err := look(d.host())
		if err != nil || len(found.devices) != 1 || found.devices[0].trouble != want {
			t.Errorf("%+v, %v, want trouble %q", found, err, want)
		}
	}
	want("")
	c := d.take("remoteproc0", "web", "")
	want("container web of /run/x has it, which did not ask Kubernetes")
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	want("")
	c = d.take("remoteproc0", "pod", "hybrid.dev/cortex-m4")
	d.state("remoteproc0", "running")
	want("")
	d.state("remoteproc0", "offline")
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	d.write("run/hybrid/processors/remoteproc0.json", "{")
	want(fmt.Sprintf("%s: unexpected end of JSON input (remove it once the processor is stopped)", d.path("run/hybrid/processors/remoteproc0.json")))
	if err := os.Remove(d.path("run/hybrid/processors/remoteproc0.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(d.path("sys/class/remoteproc/remoteproc0/state")); err != nil {
		t.Fatal(err)
	}
	if found, err := look(d.host()); err != nil || len(found.devices) != 0 {
		t.Errorf("a processor that goes: %+v, %v", found, err)
	}
}
