//go:build kubernetes

package kubernetes

import (
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// registry starts a registry in the node's network, where nothing else is.
func (n *node) registry() {
	n.Helper()
	var listener net.Listener
	var err error
	n.network.Do(n.T, func() { listener, err = net.Listen("tcp", registryAddress) })
	if err != nil {
		n.Fatal(err)
	}
	server := httptest.NewUnstartedServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	n.Cleanup(server.Close)
}

// build builds the example for the board, and pushes it to the registry.
func (n *node) build(name string) {
	n.Helper()
	base := os.Getenv("HYBRID_SDK_BASE")
	if base == "" {
		n.Fatal("HYBRID_SDK_BASE must name the OCI layout that hybrid sdk base makes")
	}
	// the platform is that of the node: boards have another one
	cmd := exec.Command(filepath.Join(n.bin, "hybrid"), "build", "--board", "qemu-virt", "--platform", "linux/"+runtime.GOARCH, "--progress", "plain",
		"--build-context", "toolchain=oci-layout://"+base, "--tag", name, "--push", "../../examples/hello_world")
	cmd.Env = append(os.Environ(), "HYBRID_BUILDER=embedded", "HYBRID_STATE="+filepath.Join(n.dir, "builder"))
	n.inside(cmd)
}

// What hybrid build pushes is pulled by its name, and executed.
func TestBuiltImage(t *testing.T) {
	n := startNode(t, func(c *sysfs.Config) { c.Run, c.Greeting = true, "" })
	n.registry()
	name := registryAddress + "/team/hello:1"
	n.build(name)
	n.serve()
	n.apply(pod("built", name))
	n.runs("built", 0)
	n.says("tick 1\n", "built")
	t.Logf("\n%s\n%s", n.kubectl("get", "pods"), n.kubectl("logs", "built"))
	n.delete("pod", "built")
}
