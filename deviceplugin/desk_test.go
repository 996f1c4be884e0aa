package deviceplugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// core is a remote processor in sysfs: what identifies it.
type core struct{ name, node, compatible string }

// desk is a board, laid out in files.
type desk struct {
	t    *testing.T
	root string
}

func newDesk(t *testing.T, compatible string, cores ...core) *desk {
	t.Helper()
	d := &desk{t, t.TempDir()}
	d.write("sys/firmware/devicetree/base/compatible", strings.ReplaceAll(compatible, " ", "\x00")+"\x00")
	for n, c := range cores {
		d.plug("remoteproc"+string(rune('0'+n)), c)
	}
	return d
}

func (d *desk) host() remoteproc.Host { return remoteproc.Host{Root: d.root} }

func (d *desk) path(name string) string { return filepath.Join(d.root, name) }

func (d *desk) write(name, text string) {
	d.t.Helper()
	err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755)
	if err == nil {
		err = os.WriteFile(d.path(name), []byte(text), 0o644)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// plug lets a driver come up.
func (d *desk) plug(instance string, c core) {
	d.t.Helper()
	dir := "sys/class/remoteproc/" + instance + "/"
	node := "sys/firmware/devicetree/base/soc/" + c.node
	name, _, _ := strings.Cut(c.node, "@")
	d.write(node+"/compatible", c.compatible+"\x00")
	d.write(node+"/name", name+"\x00")
	d.write(dir+"state", "offline\n")
	d.write(dir+"device/driver_override", "")
	if err := os.Symlink("../../../../../"+node, d.path(dir+"device/of_node")); err != nil {
		d.t.Fatal(err)
	}
	d.write(dir+"name", c.name+"\n") // last: with it, it is there
}

// unplug lets it go.
func (d *desk) unplug(instance string) {
	d.t.Helper()
	if err := os.RemoveAll(d.path("sys/class/remoteproc/" + instance)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) state(instance, state string) {
	d.t.Helper()
	d.write("sys/class/remoteproc/"+instance+"/state", state+"\n")
}

// take claims a processor, as a container does that says what it was allocated as.
func (d *desk) take(instance, id, resource string) *claim.Claim {
	d.t.Helper()
	p, err := d.host().Processor(instance)
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := claim.NewStore(d.host()).Take(p, claim.Holder{ID: id, Root: "/run/x"}, resource, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// Boards of the tests.
var (
	mini  = core{"imx-rproc", "imx8mm-cm4", "fsl,imx8mm-cm4"}
	first = core{"imx-rproc", "imx8qm-cm4-0", "fsl,imx8qm-cm4"}
	other = core{"imx-rproc", "imx8qm-cm4-1", "fsl,imx8qm-cm4"}
	r5    = core{"78000000.r5f", "r5f@78000000", "ti,am64-r5f"}
	m4f   = core{"5000000.m4fss", "m4fss@5000000", "ti,am64-m4fss"}
)
