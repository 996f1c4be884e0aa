//go:build engine || kubernetes

package daemons

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Containerd starts a containerd, with config added to its configuration of this
// version. It has no CRI.
func Containerd(t *testing.T, dir, containerd string, version int, config string, env ...string) *Daemon {
	t.Helper()
	disabled := []string{"io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"}
	return startContainerd(t, dir, containerd, version, disabled, config, env...)
}

func startContainerd(t *testing.T, dir, containerd string, version int, disabled []string, config string, env ...string) *Daemon {
	t.Helper()
	list, err := json.Marshal(append(disabled, "io.containerd.nri.v1.nri"))
	if err != nil {
		t.Fatal(err)
	}
	socket, name := filepath.Join(dir, "containerd.sock"), filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(`version = %[3]d
root = "%[1]s/root"
state = "%[1]s/run"
disabled_plugins = %[4]s
[grpc]
  address = "%[2]s"
[ttrpc]
  address = "%[2]s.ttrpc"
%[5]s`, dir, socket, version, list, config)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Start(t, socket, nil, env, filepath.Join(Dir(t), containerd), "--config", name)
}

// CRI is a containerd as Kubernetes uses it.
type CRI struct {
	Containerd string // the binary, among the engines
	Version    int    // of its configuration
	Sandbox    string // the image of what keeps a pod's namespaces
	Hosts      string // a folder that says what registries there are; empty is none
	// Handlers are the runtimes that a RuntimeClass can name, with the lines of each in
	// the configuration. There is always runc, the default.
	Handlers map[string]string
}

// Start starts it in a network, on which its pods have devices by Debian's CNI plugins.
func (c CRI) Start(t *testing.T, dir string, n *Network, env ...string) *Daemon {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "net.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	// point to point: no bridge, and without masquerading no firewall either
	pods := fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": {
	"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}`, dir+"/addresses")
	if err := os.WriteFile(filepath.Join(dir, "net.d/10-pods.conflist"), []byte(pods), 0o600); err != nil {
		t.Fatal(err)
	}
	images, runtime := `plugins."io.containerd.cri.v1.images"`, `plugins."io.containerd.cri.v1.runtime"`
	sandbox, plugins := fmt.Sprintf("[%s.pinned_images]\n  sandbox = %q\n", images, c.Sandbox), "bin_dirs = [%q]"
	own := ""
	if c.Version < 3 {
		images = `plugins."io.containerd.grpc.v1.cri"`
		runtime, sandbox, own = images, "", fmt.Sprintf("  sandbox_image = %q\n", c.Sandbox)
		plugins = "bin_dir = %q"
	}
	var config strings.Builder
	// a test may lack the right to make a process less likely to be killed than it is itself
	fmt.Fprintf(&config, "[%s]\n%s  restrict_oom_score_adj = true\n  netns_mounts_under_state_dir = true\n", runtime, own)
	fmt.Fprintf(&config, "%s[%s.registry]\n  config_path = %q\n", sandbox, images, c.Hosts)
	fmt.Fprintf(&config, "[%s.cni]\n  %s\n  conf_dir = %q\n", runtime, fmt.Sprintf(plugins, filepath.Join(Dir(t), "cni/usr/lib/cni")), dir+"/net.d")
	fmt.Fprintf(&config, "[%s.containerd.runtimes.runc]\n  runtime_type = \"io.containerd.runc.v2\"\n", runtime)
	for _, name := range slices.Sorted(maps.Keys(c.Handlers)) {
		fmt.Fprintf(&config, "[%s.containerd.runtimes.%s]\n%s\n", runtime, name, strings.ReplaceAll(c.Handlers[name], "@", runtime+".containerd.runtimes."+name))
	}
	fmt.Fprintf(&config, "[plugins.\"io.containerd.internal.v1.opt\"]\n  path = %q\n", dir+"/opt")
	var d *Daemon
	n.Do(t, func() { d = startContainerd(t, dir, c.Containerd, c.Version, nil, config.String(), env...) })
	return d
}
