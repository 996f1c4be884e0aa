//go:build kubernetes

package kubernetes

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// manifests are those of users.
const manifests = "../../deploy/kubernetes"

const (
	cortexM4  = "hybrid.dev/cortex-m4"
	namespace = "hybrid-system"
)

// twins gives a board two processors that differ by nothing but their place.
func twins(c *sysfs.Config) {
	one, two := c.Processors[0], c.Processors[0]
	one.NodeName, two.NodeName = "m4@10000000", "m4@20000000"
	c.Processors = []sysfs.Processor{one, two}
}

// asking is a pod of firmware that asks for a core.
func asking(name, image, resource string) string {
	return pod(name, image, fmt.Sprintf("      resources: {limits: {%s: 1}}", resource))
}

// plugin starts the device plugin as a process, with the rights of its service account.
func (n *node) plugin() *daemons.Daemon {
	n.Helper()
	account := filepath.Join(n.dir, "account")
	if err := os.MkdirAll(account, 0o700); err != nil {
		n.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(n.dir, "pki/apiserver.crt"))
	if err != nil {
		n.Fatal(err)
	}
	n.write("account/ca.crt", ca)
	n.write("account/token", []byte(n.token()))
	cmd := exec.Command(filepath.Join(n.bin, "hybrid-device-plugin"), "--sysroot", n.board.Dir, "--device-plugin-dir", n.devicePlugins,
		"--node-name", nodeName, "--service-account", account, "--interval", "1s")
	cmd.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST="+serviceAddress, "KUBERNETES_SERVICE_PORT=443")
	var d *daemons.Daemon
	n.Cleanup(func() { // after it has ended
		if d != nil && n.Failed() {
			n.Logf("the device plugin said\n%s", d.Log())
		}
	})
	n.network.Do(n.T, func() { d = daemons.Run(n.T, cmd, func() error { return nil }) })
	return d
}

// token is one of the plugin's service account, for this node as those of pods are.
func (n *node) token() string {
	n.Helper()
	return strings.TrimSpace(n.kubectl("create", "token", "hybrid-device-plugin", "--namespace", namespace, "--bound-object-kind", "Node", "--bound-object-name", nodeName))
}

// wantAllocatable waits until pods may have so many of a resource.
func (n *node) wantAllocatable(resource, want string) {
	n.Helper()
	n.eventually(func() error {
		var object struct {
			Status struct{ Allocatable map[string]string }
		}
		if err := n.get(&object, "node", nodeName); err != nil {
			return err
		}
		if got := object.Status.Allocatable[resource]; got != want {
			return fmt.Errorf("allocatable %s: %q, want %q", resource, got, want)
		}
		return nil
	})
}

// labels are ours of the node.
func (n *node) labels() string {
	n.Helper()
	var object struct {
		Metadata struct{ Labels map[string]string }
	}
	if err := n.get(&object, "node", nodeName); err != nil {
		return err.Error()
	}
	var ours []string
	for k, v := range object.Metadata.Labels {
		if strings.HasPrefix(k, "hybrid.dev/") {
			ours = append(ours, k+"="+v)
		}
	}
	slices.Sort(ours)
	return strings.Join(ours, " ")
}

func (n *node) wantLabels(want string) {
	n.Helper()
	n.eventually(func() error {
		if got := n.labels(); got != want {
			return fmt.Errorf("labels %s, want %s", got, want)
		}
		return nil
	})
}

func (n *node) wantRunning(pod string) {
	n.Helper()
	n.eventually(func() error {
		out, err := n.tryKubectl("get", "pod", pod, "--output", "jsonpath={.status.phase} {.status.containerStatuses[0].ready}")
		if err == nil && out != "Running true" {
			err = fmt.Errorf("pod %s is %s", pod, out)
		}
		return err
	})
}

// wantPending wants a pod to wait, and the scheduler to say why.
func (n *node) wantPending(pod, why string) {
	n.Helper()
	n.eventually(func() error {
		out, err := n.tryKubectl("get", "events", "--field-selector", "reason=FailedScheduling,involvedObject.name="+pod, "--output", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, why) {
			err = fmt.Errorf("the scheduler says of %s: %q, want %q", pod, out, why)
		}
		return err
	})
	if out, err := n.tryKubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/"+pod, "--timeout=1s"); err == nil {
		n.Errorf("pod %s does not stay so: %s", pod, out)
	}
	if phase := n.kubectl("get", "pod", pod, "--output", "jsonpath={.status.phase}"); phase != "Pending" {
		n.Errorf("pod %s is %s", pod, phase)
	}
}

// processors are the instances that the containers of pods have, by the pod.
func (n *node) processors() map[string]string {
	n.Helper()
	var list []struct{ ID, Status, Bundle string }
	if err := json.Unmarshal([]byte(n.runtime("list", "--format", "json")), &list); err != nil {
		n.Fatal(err)
	}
	found := map[string]string{}
	for _, c := range list {
		if !strings.HasPrefix(c.Bundle, n.dir) {
			continue // another node on this machine
		}
		var state struct{ Annotations map[string]string }
		if err := json.Unmarshal([]byte(n.runtime("state", c.ID)), &state); err != nil {
			n.Fatal(err)
		}
		if a := state.Annotations; c.Status == "running" {
			found[a["io.kubernetes.cri.sandbox-name"]] = a["remoteproc.name"]
		}
	}
	return found
}

// registered wants the kubelet that runs now to have been told of the resource so often.
func (n *node) registered(count int) error {
	n.Helper()
	metrics, err := n.tryKubectl("get", "--raw", "/api/v1/nodes/"+nodeName+"/proxy/metrics")
	if err != nil {
		return err
	}
	want := fmt.Sprintf("kubelet_device_plugin_registration_total{resource_name=%q} %d", cortexM4, count)
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "kubelet_device_plugin_registration_total{") {
			if line = strings.TrimSpace(line); line == want {
				return nil
			}
			err = fmt.Errorf("the kubelet says %s, want %s", line, want)
		}
	}
	if err == nil {
		err = errors.New("the kubelet says nothing of device plugins")
	}
	return err
}

// runtime asks hybrid-runtime of the containers of Kubernetes.
func (n *node) runtime(args ...string) string {
	n.Helper()
	return n.runtimeIn("/run/containerd/runc/k8s.io", args...)
}

func (n *node) runtimeIn(root string, args ...string) string {
	n.Helper()
	return n.inside(exec.Command(filepath.Join(n.bin, "hybrid-runtime"), append([]string{"--sysroot", n.board.Dir, "--root", root}, args...)...))
}

// TestScheduling has two equal cores, and pods that want one each.
func TestScheduling(t *testing.T) {
	n := startNode(t, twins)
	n.kubectl("apply", "--kustomize", manifests)

	// no labels yet, as on every node that is no board
	n.apply(pod("early", imageHello))
	n.wantPending("early", "node(s) didn't match Pod's node affinity/selector")
	n.kubectl("delete", "pod", "early", "--wait")

	d := n.plugin()
	const labels = "hybrid.dev/board=qemu-virt hybrid.dev/cortex-m4=true hybrid.dev/remoteproc=true"
	n.wantLabels(labels)
	n.wantAllocatable(cortexM4, "2")
	n.eventually(func() error { return n.registered(1) })

	// the image's own wish is for a processor that is not there: what was allocated counts
	archive := filepath.Join(n.dir, "image.tar")
	pinned := fixture.For("qemu-virt")
	pinned.Env = append(pinned.Env, "HYBRID_PROCESSOR=nowhere")
	fixture.Archive(t, archive, "docker.io/library/pinned:1", pinned)
	n.containerd("images", "import", "--local", archive)

	n.apply(asking("one", imageHello, cortexM4))
	n.wantRunning("one")
	n.apply(asking("two", "docker.io/library/pinned:1", cortexM4))
	n.wantRunning("two")
	had := n.processors()
	if len(had) != 2 || had["one"] == had["two"] || !strings.HasPrefix(had["one"], "remoteproc") || !strings.HasPrefix(had["two"], "remoteproc") {
		t.Errorf("processors %v, want two, each its own", had)
	}
	// the kubelet's account and the runtime's are the same
	for name, processor := range n.allocated(t) {
		node := map[string]string{"remoteproc0": "m4@10000000", "remoteproc1": "m4@20000000"}[had[name]]
		if processor != node {
			t.Errorf("%s was given %s, and has %s (%s)", name, processor, node, had[name])
		}
	}
	n.apply(asking("three", imageHello, cortexM4))
	n.wantPending("three", "Insufficient "+cortexM4)
	n.apply(asking("other-core", imageHello, "hybrid.dev/cortex-m7"))
	n.wantPending("other-core", "Insufficient hybrid.dev/cortex-m7")
	t.Logf("pods of two cores of a kind:\n%s%s", n.kubectl("get", "pods"), n.kubectl("get", "events", "--field-selector", "reason=FailedScheduling"))
	n.kubectl("delete", "pod", "one", "--wait")
	n.wantRunning("three")
	if now := n.processors(); now["three"] != had["one"] || now["two"] != had["two"] {
		t.Errorf("processors %v, before %v", now, had)
	}

	// kubelet forgets all sockets when it starts
	n.restartKubelet()
	n.Cleanup(n.empty) // before this one ends
	n.eventually(func() error { return n.registered(1) })
	n.wantAllocatable(cortexM4, "2")
	n.wantRunning("three")

	// a plugin that is killed leaves its socket, and the next one takes its place
	d.Kill(t)
	n.kubectl("label", "node", nodeName, "hybrid.dev/cortex-r7=true") // of a board that the node was
	d = n.plugin()
	n.eventually(func() error { return n.registered(2) })
	n.wantLabels(labels)
	n.kubectl("delete", "pod", "two", "--wait")
	n.wantAllocatable(cortexM4, "2")
	n.apply(asking("four", imageHello, cortexM4))
	n.wantRunning("four")
	n.kubectl("delete", "pod", "four", "--wait")

	// somebody who is not Kubernetes takes the free one: pods wait
	fw := filepath.Join(n.dir, "fw.elf")
	if err := os.WriteFile(fw, fixture.Firmware(false), 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(n.board.Dir, "run/hybrid/containers")
	n.runtimeIn(root, "create", "--firmware", fw, fixture.Prefix+"by-hand")
	n.wantAllocatable(cortexM4, "1")
	n.apply(asking("five", imageHello, cortexM4))
	n.wantPending("five", "Insufficient "+cortexM4)
	n.runtimeIn(root, "delete", "--force", fixture.Prefix+"by-hand")
	n.wantRunning("five")

	// a crash is the container's end, and the restart is on the same processor
	crashed := n.processors()["five"]
	n.board.Server.Core(int(crashed[len(crashed)-1] - '0')).Crash(sysfs.Watchdog)
	n.eventually(func() error {
		out, err := n.tryKubectl("get", "pod", "five", "--output", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].ready}")
		if err == nil && out != "1 139 true" {
			err = fmt.Errorf("restarts, exit code, ready: %s", out)
		}
		return err
	})
	if now := n.processors()["five"]; now != crashed {
		t.Errorf("restarted on %s, before on %s", now, crashed)
	}
	n.wantAllocatable(cortexM4, "2")

	d.Stop(t)
	if left, _ := filepath.Glob(filepath.Join(n.devicePlugins, "hybrid*")); left != nil {
		t.Errorf("left: %q", left)
	}
}

// allocated is what the kubelet has written down: devices by pod.
func (n *node) allocated(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.devicePlugins, "kubelet_internal_checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	var checkpoint struct {
		Data struct {
			PodDeviceEntries []struct {
				PodUID    string
				DeviceIDs map[string][]string
			}
		}
	}
	if err := json.Unmarshal(b, &checkpoint); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range checkpoint.Data.PodDeviceEntries {
		for line := range strings.Lines(n.kubectl("get", "pods", "--output", `jsonpath={range .items[*]}{.metadata.uid} {.metadata.name}{"\n"}{end}`)) {
			if uid, name, _ := strings.Cut(strings.TrimSpace(line), " "); uid == e.PodUID {
				for _, ids := range e.DeviceIDs {
					found[name] += strings.Join(ids, " ")
				}
			}
		}
	}
	if len(found) != 2 {
		t.Fatalf("the kubelet has %v in %s", found, b)
	}
	return found
}

// overlay is the kustomization of a user, who adds patches to ours.
func (n *node) overlay(more string) string {
	n.Helper()
	dir := filepath.Join(n.dir, "overlay")
	if err := os.CopyFS(filepath.Join(dir, "base"), os.DirFS(manifests)); err != nil {
		n.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "here"), 0o755); err != nil {
		n.Fatal(err)
	}
	n.write("overlay/here/kustomization.yaml", []byte("resources: [../base]\n"+more))
	return filepath.Join(dir, "here")
}

// TestDevicePluginDaemonSet runs the plugin as users do, and looks at its rights.
func TestDevicePluginDaemonSet(t *testing.T) {
	n := startNode(t)
	program, err := os.ReadFile(filepath.Join(n.bin, "hybrid-device-plugin"))
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(n.dir, "image.tar")
	fixture.Archive(t, archive, "docker.io/library/hybrid-device-plugin:test", fixture.Content{
		Files: map[string][]byte{"hybrid-device-plugin": program}, Entrypoint: []string{"/hybrid-device-plugin"},
	})
	n.containerd("images", "import", "--local", archive)

	// the board is below a folder, and on a desk's machine
	path := func(i int, dir string) string {
		return fmt.Sprintf(`{"op": "replace", "path": "/spec/template/spec/volumes/%d/hostPath/path", "value": %q}`, i, filepath.Join(n.board.Dir, dir))
	}
	n.kubectl("apply", "--kustomize", n.overlay(fmt.Sprintf(`
images: [{name: hybrid-device-plugin, newName: docker.io/library/hybrid-device-plugin, newTag: test}]
patches:
  - target: {kind: DaemonSet}
    patch: '[{"op": "remove", "path": "/spec/template/spec/affinity"}, %s, %s, %s]'
`, path(1, "sys"), path(2, "run/hybrid"), path(3, "etc/hybrid"))))
	n.kubectl("rollout", "status", "daemonset", "hybrid-device-plugin", "--namespace", namespace, "--timeout=60s")
	n.wantLabels("hybrid.dev/board=qemu-virt hybrid.dev/cortex-m4=true hybrid.dev/remoteproc=true")
	n.wantAllocatable(cortexM4, "1")
	n.apply(asking("hello", imageHello, cortexM4))
	n.wantRunning("hello")
	if d := n.processors(); d["hello"] != "remoteproc0" {
		t.Errorf("processors %v", d)
	}
	claim, err := os.ReadFile(filepath.Join(n.board.Dir, "run/hybrid/processors/remoteproc0.json"))
	if err != nil || !strings.Contains(string(claim), `"resource":"`+cortexM4+`"`) {
		t.Errorf("the claim %s, %v: want it to name the resource", claim, err)
	}
	n.wantAllocatable(cortexM4, "1")
	t.Logf("as a DaemonSet:\n%s%s", n.kubectl("get", "pods", "--all-namespaces"), n.kubectl("logs", "daemonset/hybrid-device-plugin", "--namespace", namespace))

	// what its account may do
	token := n.token()
	for what, c := range map[string]struct{ patch, says string }{ // nothing is said of what it may
		"its labels":      {`{"metadata": {"labels": {"hybrid.dev/board": "x"}}}`, ""},
		"other labels":    {`{"metadata": {"labels": {"example.com/x": "x"}}}`, "the device plugin may only change labels hybrid.dev/*"},
		"changing them":   {`{"metadata": {"labels": {"kubernetes.io/os": "x"}}}`, "the device plugin may only change labels hybrid.dev/*"},
		"removing them":   {`{"metadata": {"labels": {"kubernetes.io/os": null}}}`, "the device plugin may only change labels hybrid.dev/*"},
		"a node's spec":   {`{"spec": {"unschedulable": true}}`, "the device plugin may only change labels"},
		"a node's taints": {`{"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}}`, "the device plugin may only change labels"},
		"annotations":     {`{"metadata": {"annotations": {"x": "y"}}}`, "the device plugin may only change labels"},
	} {
		n.wantAnswer(what, token, http.MethodPatch, "/api/v1/nodes/"+nodeName, c.patch, c.says)
	}
	n.wantAnswer("reading", token, http.MethodGet, "/api/v1/nodes/"+nodeName, "", "forbidden")
	n.wantAnswer("deleting", token, http.MethodDelete, "/api/v1/nodes/"+nodeName, "", "forbidden")
	n.wantAnswer("its status", token, http.MethodPatch, "/api/v1/nodes/"+nodeName+"/status", `{"status": {}}`, "forbidden")
	n.wantAnswer("pods", token, http.MethodGet, "/api/v1/pods", "", "forbidden")
	ofNoNode := strings.TrimSpace(n.kubectl("create", "token", "hybrid-device-plugin", "--namespace", namespace))
	n.wantAnswer("another node's plugin", ofNoNode, http.MethodPatch, "/api/v1/nodes/"+nodeName, `{"metadata": {"labels": {"hybrid.dev/board": "y"}}}`, "the device plugin may only change the node that it runs on")

	// it ends, and leaves no socket
	n.kubectl("delete", "daemonset", "hybrid-device-plugin", "--namespace", namespace, "--wait")
	n.eventually(func() error {
		if left, _ := filepath.Glob(filepath.Join(n.devicePlugins, "hybrid*")); left != nil {
			return fmt.Errorf("left: %q", left)
		}
		return nil
	})
	if phase := n.kubectl("get", "pod", "hello", "--output", "jsonpath={.status.phase}"); phase != "Running" {
		t.Errorf("the pod is %s without the plugin", phase)
	}
}

// wantAnswer asks the API server with a token, and wants it to refuse with these words,
// or to do it if there are none. kubectl would read before it changes.
func (n *node) wantAnswer(what, token, method, path, body, says string) {
	n.Helper()
	r, err := http.NewRequest(method, "https://"+serviceAddress+path, strings.NewReader(body))
	if err != nil {
		n.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/merge-patch+json")
	answer, err := (&http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return n.network.Dial(network, address)
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}}).Do(r)
	if err != nil {
		n.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		n.Fatal(err)
	}
	done := answer.StatusCode == http.StatusOK
	if done != (says == "") || !strings.Contains(string(text), says) {
		n.Errorf("%s: %s: %.300s, want %q", what, answer.Status, text, says)
	}
}
