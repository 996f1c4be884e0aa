//go:build kubernetes

package kubernetes

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

const (
	nodeName = "board"
	token    = "administrator"
	// Addresses in the node's network: kubelet's, and the one at which pods find the API
	// server, as nothing redirects services.
	nodeAddress, serviceAddress = "10.87.0.1", "10.96.0.1"

	registryAddress = "127.0.0.1:5000"

	// patience is for a machine that does much else.
	patience       = time.Minute
	commandTimeout = 2 * time.Minute
)

// Images that every node has. Others come from its registry.
const (
	imageHello = "docker.io/library/hello:1" // for the board, pretends
	imageEcho  = "docker.io/library/echo:1"  // the same with a terminal over rpmsg
	imageOther = "docker.io/library/other:1" // for another board
	imageLinux = "docker.io/library/linux:1" // busybox
	imagePause = "docker.io/library/pause:1"
)

// node is a Kubernetes of one node, which is a simulated board.
type node struct {
	*testing.T            // the one that asks
	owner      *testing.T // the one with which the node ends
	board      *fixture.Board
	network    *daemons.Network

	dir           string
	bin           string // the folder of our binaries
	kubeconfig    string // of an administrator
	devicePlugins string // the folder of kubelet's sockets for device plugins

	kubelet *daemons.Daemon
	ctr     []string // the command of containerd, for Kubernetes' namespace
}

// startNode starts a node that lasts as long as the test.
func startNode(t *testing.T, change ...func(*sysfs.Config)) *node {
	t.Helper()
	n := &node{T: t, owner: t, board: fixture.NewBoard(t, change...)}
	machine := fixture.Machine(t)
	keepSettings(t)
	n.dir, n.bin = t.TempDir(), built(t)
	n.kubeconfig, n.devicePlugins = filepath.Join(n.dir, "kubeconfig"), kubeletFolder+"/device-plugins"
	t.Cleanup(func() { // after all daemons have ended
		if err := unix.Unmount(filepath.Join(n.dir, "kubelet"), 0); err != nil { // which kubelet mounts on itself
			t.Error(err)
		}
		daemons.WantNothingLeft(t, n.dir)
		fixture.WantMachine(t, machine)
	})
	t.Cleanup(func() { forgetKubelet(t) })
	n.network = daemons.NewNetwork(t)
	for _, address := range []string{nodeAddress, serviceAddress} {
		n.inside(exec.Command(busybox(t), "ip", "address", "add", address+"/32", "dev", "lo"))
	}
	n.keys()
	n.startContainerd()
	n.startControl()
	n.startKubelet()
	t.Cleanup(n.empty)
	n.eventually(func() error { return n.ready() })
	return n
}

// inside runs a command in the node's network, and returns its output.
func (n *node) inside(cmd *exec.Cmd) string {
	n.Helper()
	out, said, err := n.try(cmd)
	if err != nil {
		n.Fatalf("%q: %v\n%s%s", cmd.Args, err, out, said)
	}
	return out
}

func (n *node) try(cmd *exec.Cmd) (out, said string, err error) {
	n.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	n.network.Do(n.T, func() { err = cmd.Start() })
	if err != nil {
		return "", "", err
	}
	late := time.AfterFunc(commandTimeout, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err = cmd.Wait()
	return stdout.String(), stderr.String(), err
}

// keys writes who may do what: one administrator, and the key of service accounts.
func (n *node) keys() {
	n.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		n.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		n.Fatal(err)
	}
	n.write("sa.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	n.write("sa.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	n.write("tokens.csv", []byte(token+`,administrator,1,"system:masters"`+"\n"))
	n.writeJSON("kubeconfig", map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "it",
		"clusters": []any{map[string]any{"name": "it", "cluster": map[string]any{"server": "https://" + serviceAddress, "insecure-skip-tls-verify": true}}},
		"users":    []any{map[string]any{"name": "it", "user": map[string]any{"token": token}}},
		"contexts": []any{map[string]any{"name": "it", "context": map[string]any{"cluster": "it", "user": "it"}}},
	})
}

func (n *node) write(name string, b []byte) {
	n.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), b, 0o600); err != nil {
		n.Fatal(err)
	}
}

func (n *node) writeJSON(name string, v any) {
	n.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		n.Fatal(err)
	}
	n.write(name, b)
}

// startContainerd starts containerd with the handler hybrid, and gives it the images.
func (n *node) startContainerd() {
	n.Helper()
	engines := daemons.Dir(n.T)
	hosts := filepath.Join(n.dir, "hosts", registryAddress)
	if err := os.MkdirAll(hosts, 0o700); err != nil {
		n.Fatal(err)
	}
	n.write(filepath.Join("hosts", registryAddress, "hosts.toml"), []byte(`server = "http://`+registryAddress+`"`+"\n"))
	c := daemons.CRI{
		Containerd: "containerd", Version: 3, Sandbox: imagePause, Hosts: filepath.Join(n.dir, "hosts"),
		Handlers: map[string]string{"hybrid": `  runtime_type = "io.containerd.hybrid.v1"`},
	}
	d := c.Start(n.T, n.dir, n.network, "PATH="+engines+":"+engines+"/runc/usr/sbin:"+n.bin+":"+os.Getenv("PATH"), "HYBRID_SYSROOT="+n.board.Dir)
	n.ctr = []string{filepath.Join(engines, "ctr"), "--address", d.Socket, "--namespace", "k8s.io"}
	n.Cleanup(n.reap) // before containerd ends
	program, err := os.ReadFile(busybox(n.T))
	if err != nil {
		n.Fatal(err)
	}
	echo := fixture.For("qemu-virt")
	echo.Files = map[string][]byte{"fw.elf": fixture.Firmware(true)}
	for name, content := range map[string]fixture.Content{
		imageHello: fixture.For("qemu-virt"),
		imageEcho:  echo,
		imageOther: fixture.For("imx8m-mini"),
		imageLinux: {Files: map[string][]byte{"bin/busybox": program, "bin/sh": program}, Entrypoint: []string{"/bin/sh"}, Env: []string{"PATH=/bin"}},
		imagePause: {Files: map[string][]byte{"bin/busybox": program}, Entrypoint: []string{"/bin/busybox", "sleep", "1000000"}},
	} {
		archive := filepath.Join(n.dir, "image.tar")
		fixture.Archive(n.T, archive, name, content)
		n.containerd("images", "import", "--local", archive)
	}
}

// containerd asks containerd, and returns its output.
func (n *node) containerd(args ...string) string {
	n.Helper()
	return n.inside(exec.Command(n.ctr[0], append(n.ctr[1:len(n.ctr):len(n.ctr)], args...)...))
}

// reap removes what kubelet has left, which is an error.
func (n *node) reap() {
	n.Helper()
	for _, id := range strings.Fields(n.containerd("tasks", "ls", "--quiet")) {
		n.Errorf("container %s is left", id)
		n.containerd("tasks", "delete", "--force", id)
	}
}

// daemon starts a program of Kubernetes.
func (n *node) daemon(ready func() error, args ...string) *daemons.Daemon {
	n.Helper()
	cmd := kubernetes(n.T, args...)
	cmd.Env = append(os.Environ(), "PATH="+daemons.Dir(n.T)+"/runc/usr/sbin:"+os.Getenv("PATH"))
	var d *daemons.Daemon
	n.owner.Cleanup(func() { // after it has ended
		if d != nil && n.owner.Failed() && testing.Verbose() {
			n.owner.Logf("%s said\n%s", args[0], lastLines(d.Log(), 20))
		}
	})
	n.network.Do(n.T, func() { d = daemons.Run(n.owner, cmd, ready) })
	return d
}

// startControl starts what is not on the nodes of a larger cluster.
func (n *node) startControl() {
	n.Helper()
	now := func() error { return nil }
	file := func(name string) string { return filepath.Join(n.dir, name) }
	n.daemon(func() error { return n.listens("127.0.0.1:2379") }, "etcd", "--data-dir", file("etcd"), "--unsafe-no-fsync")
	n.daemon(n.answers, "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--cert-dir="+file("pki"),
		"--bind-address=0.0.0.0", "--secure-port=443", "--advertise-address="+nodeAddress, "--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/24", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+file("sa.pub"), "--service-account-signing-key-file="+file("sa.key"),
		"--authorization-mode=Node,RBAC", "--token-auth-file="+file("tokens.csv"), "--allow-privileged",
		"--kubelet-preferred-address-types=InternalIP")
	n.daemon(now, "kube-controller-manager", "--kubeconfig="+n.kubeconfig, "--leader-elect=false", "--cert-dir="+file("pki-controllers"),
		"--service-account-private-key-file="+file("sa.key"), "--root-ca-file="+file("pki/apiserver.crt"), "--use-service-account-credentials")
	n.daemon(now, "kube-scheduler", "--kubeconfig="+n.kubeconfig, "--leader-elect=false", "--cert-dir="+file("pki-scheduler"))
}

func (n *node) listens(address string) error {
	conn, err := n.network.Dial("tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// answers asks whether the API server is ready.
func (n *node) answers() error {
	transport := &http.Transport{
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return n.network.Dial(network, address)
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get("https://" + serviceAddress + "/readyz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// startKubelet starts kubelet: with everything below our folder, and content with a
// machine that it may not change.
func (n *node) startKubelet() {
	n.Helper()
	file := func(name string) string { return filepath.Join(n.dir, name) }
	n.writeJSON("kubelet.json", map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"address": "0.0.0.0", "containerRuntimeEndpoint": "unix://" + file("containerd.sock"),
		"podLogsDir": file("logs"), "volumePluginDir": file("volume-plugins"), "resolvConf": "",
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": true}, "webhook": map[string]any{"enabled": false}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"},
		"cgroupDriver":   "cgroupfs", "failCgroupV1": false, "cgroupsPerQOS": false, "enforceNodeAllocatable": []string{},
		"failSwapOn": false, "oomScoreAdj": 0, "makeIPTablesUtilChains": false, "localStorageCapacityIsolation": false,
		"evictionHard": map[string]string{"memory.available": "50Mi"}, "imageGCHighThresholdPercent": 100,
		"syncFrequency": "5s", "nodeStatusUpdateFrequency": "2s",
	})
	n.kubelet = n.daemon(func() error { return n.listens(nodeAddress + ":10250") }, "kubelet", "--config="+file("kubelet.json"),
		"--kubeconfig="+n.kubeconfig, "--root-dir="+file("kubelet"), "--cert-dir="+file("pki-kubelet"),
		"--hostname-override="+nodeName, "--node-ip="+nodeAddress)
}

// in is the node for a test within the one that started it.
func (n *node) in(t *testing.T) *node {
	here := *n
	here.T = t
	return &here
}

// restartKubelet ends kubelet, and starts it again.
func (n *node) restartKubelet() {
	n.Helper()
	n.kubelet.Stop(n.T)
	n.startKubelet()
}

// ready wants the node to be, and pods to be possible.
func (n *node) ready() error {
	var list struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := n.get(&list, "node", nodeName); err != nil {
		return err
	}
	for _, c := range list.Status.Conditions {
		if c.Type == "Ready" && c.Status == "True" {
			_, err := n.tryKubectl("get", "serviceaccount", "default")
			return err
		}
	}
	return fmt.Errorf("the node is %+v", list)
}

// empty removes all pods and what makes new ones, and waits until kubelet has done so.
func (n *node) empty() {
	n.Helper()
	if _, err := n.tryKubectl("delete", "deployments,daemonsets,jobs,pods", "--all", "--all-namespaces", "--timeout=60s"); err != nil {
		n.Errorf("pods are left: %v", err)
	}
	n.eventually(func() error {
		if ids := n.containerd("tasks", "ls", "--quiet"); ids != "" {
			return fmt.Errorf("containers are left: %q", strings.Fields(ids))
		}
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err == nil && strings.Contains(string(mounts), n.dir+"/kubelet/") {
			return errors.New("volumes of pods are still mounted")
		}
		return err
	})
}

// kubectl asks the API server as the administrator, and returns the answer.
func (n *node) kubectl(args ...string) string {
	n.Helper()
	out, err := n.tryKubectl(args...)
	if err != nil {
		n.Fatal(err)
	}
	return out
}

// tryKubectl is kubectl that may fail, with what it says as the error.
func (n *node) tryKubectl(args ...string) (string, error) {
	n.Helper()
	return n.kubectlWith("", args...)
}

func (n *node) kubectlWith(input string, args ...string) (string, error) {
	n.Helper()
	cmd := kubernetes(n.T, append([]string{"kubectl", "--kubeconfig", n.kubeconfig, "--cache-dir", n.dir + "/kubectl"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, said, err := n.try(cmd)
	if err != nil {
		return out, fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said))
	}
	return out, nil
}

// apply creates or changes what a manifest says.
func (n *node) apply(manifest string) {
	n.Helper()
	if _, err := n.kubectlWith(manifest, "apply", "--filename", "-"); err != nil {
		n.Fatal(err)
	}
}

// get asks for an object, as JSON.
func (n *node) get(into any, args ...string) error {
	n.Helper()
	out, err := n.tryKubectl(append([]string{"get", "--output", "json"}, args...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), into)
}

// eventually wants f to have no error within the time that Kubernetes may take.
func (n *node) eventually(f func() error) { n.Helper(); fixture.Within(n.T, patience, f) }

// kubernetes is a command of the programs of Kubernetes.
func kubernetes(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(filepath.Join(daemons.Dir(t), "kubernetes"), args...)
}

func busybox(t *testing.T) string {
	t.Helper()
	return filepath.Join(daemons.Dir(t), "runc/bin/busybox")
}

// built is the folder of our binaries.
func built(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hybrid", "hybrid-runtime", "containerd-shim-hybrid-v1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatalf("%v (make build)", err)
		}
	}
	return dir
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
