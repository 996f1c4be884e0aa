//go:build kubernetes

package kubernetes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/test/fixture"
)

// serve makes the node one for firmware, as without the device plugin: by hand.
func (n *node) serve() {
	n.Helper()
	n.kubectl("label", "node", nodeName, "hybrid.dev/remoteproc=true")
	n.kubectl("apply", "--filename", "../../deploy/kubernetes/runtime-class.yaml")
}

// pod is a manifest of a pod with firmware, and with more lines of its specification.
func pod(name, image string, more ...string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  runtimeClassName: hybrid
  containers:
    - name: firmware
      image: %s
%s`, name, image, strings.Join(more, "\n"))
}

// template is a pod for what makes pods, 4 columns to the right.
func template(image string, more ...string) string {
	return fmt.Sprintf(`
  template:
    metadata: {labels: {app: firmware}}
    spec:
      runtimeClassName: hybrid
      %s
      containers:
        - {name: firmware, image: %q}
`, strings.Join(more, "\n      "), image)
}

// podStatus is what these tests ask of a pod.
type podStatus struct {
	Metadata struct {
		Name              string
		DeletionTimestamp string
	}
	Status struct {
		Phase             string
		ContainerStatuses []containerStatus
	}
}

type containerStatus struct {
	Name, ContainerID string
	Ready             bool
	RestartCount      int
	State, LastState  struct {
		Waiting    *struct{ Reason, Message string }
		Running    *struct{ StartedAt string }
		Terminated *struct {
			ExitCode        int
			Reason, Message string
		}
	}
}

func (s podStatus) String() string { b, _ := json.Marshal(s); return string(b) }

// status asks for a pod, and the status of its container firmware.
func (n *node) status(pod string) (s podStatus, firmware containerStatus, err error) {
	n.Helper()
	err = n.get(&s, "pod", pod)
	for _, c := range s.Status.ContainerStatuses {
		if c.Name == "firmware" {
			firmware = c
		}
	}
	return s, firmware, err
}

// until wants the status of a pod to become good, and returns that of its firmware.
func (n *node) until(pod, what string, good func(podStatus, containerStatus) bool) (c containerStatus) {
	n.Helper()
	n.eventually(func() error {
		s, firmware, err := n.status(pod)
		if c = firmware; err == nil && !good(s, c) {
			err = fmt.Errorf("pod %v, want it %s", s, what)
		}
		return err
	})
	return c
}

// runs wants the firmware of a pod to run after this many restarts, and to have greeted:
// logs says whose log that is, unless there is no other.
func (n *node) runs(pod string, restarts int, logs ...string) containerStatus {
	n.Helper()
	c := n.until(pod, "running", func(_ podStatus, c containerStatus) bool {
		return c.State.Running != nil && c.RestartCount == restarts
	})
	n.board.WantState(n.T, "running")
	n.says(fixture.Greeting, append([]string{pod}, logs...)...)
	return c
}

// says wants a text in a log.
func (n *node) says(want string, args ...string) {
	n.Helper()
	n.eventually(func() error {
		out, err := n.tryKubectl(append([]string{"logs"}, args...)...)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("log %q, want %q", out, want)
		}
		return err
	})
}

// event wants an event of a pod with these words.
func (n *node) event(pod, reason, says string) {
	n.Helper()
	n.eventually(func() error {
		var list struct {
			Items []struct{ Type, Reason, Message string }
		}
		err := n.get(&list, "events", "--field-selector", "involvedObject.name="+pod)
		for _, e := range list.Items {
			if e.Type == "Warning" && e.Reason == reason && strings.Contains(e.Message, says) {
				n.Logf("%s: %s", e.Reason, e.Message)
				return nil
			}
		}
		if err == nil {
			err = fmt.Errorf("events %+v, want %s %q", list.Items, reason, says)
		}
		return err
	})
}

// delete deletes something, and wants its processor to be free.
func (n *node) delete(args ...string) {
	n.Helper()
	n.kubectl(append([]string{"delete", "--timeout=60s"}, args...)...)
	n.board.WantIdle(n.T)
}

// behaviours are what is wanted of a node.
var behaviours = []struct {
	name string
	show func(n *node)
}{
	{"run, logs, get", func(n *node) {
		n.apply(pod("hello", imageHello))
		n.runs("hello", 0)
		out := n.kubectl("get", "pods", "--output", "wide")
		if !strings.Contains(out, "hello   1/1     Running   0") {
			n.Error("get pods")
		}
		n.Logf("\n%s\n%s", out, n.kubectl("logs", "hello"))
		n.delete("pod", "hello")
	}},
	{"delete is graceful", func(n *node) {
		// a finalizer keeps what is known of a pod after its end
		n.apply(pod("graceful", imageHello) + "\n")
		n.kubectl("patch", "pod", "graceful", "--patch", `{"metadata": {"finalizers": ["hybrid.dev/test"]}}`)
		n.Cleanup(func() {
			_, _ = n.tryKubectl("patch", "pod", "graceful", "--patch", `{"metadata": {"finalizers": null}}`)
		})
		n.runs("graceful", 0)
		began := time.Now()
		n.kubectl("delete", "pod", "graceful", "--wait=false")
		c := n.until("graceful", "ended", func(_ podStatus, c containerStatus) bool { return c.State.Terminated != nil })
		if end := c.State.Terminated; end.ExitCode != 0 || end.Reason != "Completed" || time.Since(began) > 15*time.Second {
			n.Errorf("after %v: %+v", time.Since(began), end)
		}
		n.board.WantState(n.T, "offline")
		n.kubectl("patch", "pod", "graceful", "--patch", `{"metadata": {"finalizers": null}}`)
	}},
	{"crash, restartPolicy Always", func(n *node) { n.restarts("always", "Always") }},
	{"crash, restartPolicy OnFailure", func(n *node) { n.restarts("onfailure", "OnFailure") }},
	{"crash, restartPolicy Never", func(n *node) {
		n.apply(pod("never", imageHello, "  restartPolicy: Never"))
		n.runs("never", 0)
		n.board.Crash()
		c := n.until("never", "failed", func(s podStatus, _ containerStatus) bool { return s.Status.Phase == "Failed" })
		if end := c.State.Terminated; end == nil || end.ExitCode != 139 || end.Reason != "Error" {
			n.Errorf("ended as %+v", end)
		}
		n.says("hybrid: the firmware crashed", "never")
		n.board.WantIdle(n.T)
		n.delete("pod", "never")
	}},
	{"deployment", func(n *node) {
		n.apply(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: firmware}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: firmware}}` + template(imageHello))
		n.kubectl("rollout", "status", "deployment/firmware", "--timeout=60s")
		first := n.only()
		n.runs(first, 0)
		n.kubectl("rollout", "restart", "deployment/firmware")
		n.kubectl("rollout", "status", "deployment/firmware", "--timeout=60s")
		second := n.only()
		if second == first {
			n.Errorf("still %s", first)
		}
		n.runs(second, 0) // not refused: the first had ended before
		n.delete("deployment", "firmware", "--cascade=foreground")
	}},
	{"job", func(n *node) {
		n.apply(`
apiVersion: batch/v1
kind: Job
metadata: {name: firmware}
spec:
  backoffLimit: 1` + template(imageHello, "restartPolicy: Never"))
		var first string
		n.eventually(func() (err error) { first, err = n.tryOnly(); return err })
		n.runs(first, 0)
		n.board.Crash()
		n.until(first, "failed", func(s podStatus, _ containerStatus) bool { return s.Status.Phase == "Failed" })
		n.eventually(func() error { // another is tried, later
			second, err := n.tryOnly("--field-selector", "status.phase=Running")
			if err == nil && second == first {
				err = fmt.Errorf("still %s", first)
			}
			return err
		})
		n.board.WantState(n.T, "running")
		n.board.Crash()
		n.kubectl("wait", "--for=condition=Failed", "job/firmware", "--timeout=60s")
		n.delete("job", "firmware", "--cascade=foreground")
	}},
	{"a busy processor is refused", func(n *node) {
		n.apply(pod("holder", imageHello))
		id := strings.TrimPrefix(n.runs("holder", 0).ContainerID, "containerd://")
		n.apply(pod("second", imageHello))
		n.event("second", "Failed", "remote processor remoteproc0 (m4) is busy: container "+id+" holds it")
		n.until("second", "refused", func(_ podStatus, c containerStatus) bool {
			return c.State.Waiting != nil && c.State.Waiting.Reason == "RunContainerError" && strings.Contains(c.State.Waiting.Message, "is busy: container "+id)
		})
		n.Logf("\n%s", n.kubectl("get", "pods"))
		n.kubectl("delete", "pod", "holder", "--timeout=60s")
		n.until("second", "running at last", func(_ podStatus, c containerStatus) bool { return c.State.Running != nil })
		n.delete("pod", "second")
	}},
	{"another board is refused", func(n *node) {
		n.apply(pod("other", imageOther))
		n.event("other", "Failed", "board imx8m-mini wanted, this is qemu-virt")
		n.delete("pod", "other")
	}},
	{"exec is refused", func(n *node) {
		n.apply(pod("exec", imageHello))
		c := n.runs("exec", 0)
		out, err := n.tryKubectl("exec", "exec", "--", "true")
		if err == nil || !strings.Contains(err.Error(), "exec is not possible: the firmware is all that runs on a remote processor") {
			n.Errorf("exec: %s, %v", out, err)
		}
		n.Log(err)
		if now := n.runs("exec", 0); now.ContainerID != c.ContainerID {
			n.Errorf("container %s, was %s", now.ContainerID, c.ContainerID)
		}
		n.delete("pod", "exec")
	}},
	{"a probe by exec says that it cannot", func(n *node) {
		const refusal = "exec is not possible: the firmware is all that runs on a remote processor"
		n.apply(pod("live", imageHello, `      livenessProbe: {exec: {command: ["true"]}, periodSeconds: 1, failureThreshold: 1}`))
		n.runs("live", 0)
		n.event("live", "Unhealthy", refusal)
		n.Logf("\n%s", n.kubectl("get", "pods"))
		if s, c, err := n.status("live"); err != nil || c.RestartCount != 0 || c.State.Running == nil || !c.Ready {
			n.Errorf("%v, %v: a probe that cannot be made is no failure", s, err)
		}
		n.delete("pod", "live")
		n.apply(pod("unready", imageHello, `      readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1, failureThreshold: 1}`))
		n.runs("unready", 0)
		n.event("unready", "Unhealthy", refusal)
		if s, c, err := n.status("unready"); err != nil || c.Ready {
			n.Errorf("%v, %v: ready, and nobody knows", s, err)
		}
		n.delete("pod", "unready")
	}},
	{"restart of kubelet", func(n *node) {
		n.apply(pod("restart", imageHello))
		c := n.runs("restart", 0)
		n.restartKubelet()
		n.eventually(func() error { return n.ready() })
		if err := n.board.Server.Core(0).Trace("after\n"); err != nil {
			n.Fatal(err)
		}
		n.says("after", "restart")
		if now := n.runs("restart", 0); now.ContainerID != c.ContainerID {
			n.Errorf("container %s, was %s", now.ContainerID, c.ContainerID)
		}
		n.board.Crash()
		n.runs("restart", 1)
		n.delete("pod", "restart")
	}},
	{"statistics", func(n *node) {
		n.apply(pod("stats", imageHello))
		n.runs("stats", 0)
		// what kubectl top shows comes from here
		n.eventually(func() error {
			out, err := n.tryKubectl("get", "--raw", "/api/v1/nodes/"+nodeName+"/proxy/metrics/resource")
			if err != nil {
				return err
			}
			for _, name := range []string{"container_cpu_usage_seconds_total", "container_memory_working_set_bytes"} {
				_, value, found := strings.Cut(out, name+`{container="firmware",namespace="default",pod="stats"} `)
				value, _, _ = strings.Cut(value, "\n")
				if !found || strings.HasPrefix(value, "0 ") {
					return fmt.Errorf("%s is %q in %s", name, value, out)
				}
				n.Logf("%s %s", name, value)
			}
			return nil
		})
		n.delete("pod", "stats")
	}},
}

// restarts wants a crash to be the exit code of a container that is followed by another.
func (n *node) restarts(name, policy string) {
	n.Helper()
	n.apply(pod(name, imageHello, "  restartPolicy: "+policy))
	first := n.runs(name, 0)
	n.board.Crash()
	second := n.runs(name, 1)
	if last := second.LastState.Terminated; last == nil || last.ExitCode != 139 || last.Reason != "Error" || second.ContainerID == first.ContainerID {
		n.Errorf("before it was %+v", last)
	}
	n.says("hybrid: the firmware crashed", name, "--previous")
	n.delete("pod", name)
}

// only is the name of the one pod that there is of app=firmware and is not about to go.
func (n *node) only() string {
	n.Helper()
	name, err := n.tryOnly()
	if err != nil {
		n.Fatal(err)
	}
	return name
}

func (n *node) tryOnly(args ...string) (string, error) {
	n.Helper()
	var list struct{ Items []podStatus }
	if err := n.get(&list, append([]string{"pods", "--selector", "app=firmware"}, args...)...); err != nil {
		return "", err
	}
	var names []string
	for _, p := range list.Items {
		if p.Metadata.DeletionTimestamp == "" {
			names = append(names, p.Metadata.Name)
		}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("pods %q, want one", names)
	}
	return names[0], nil
}

func TestPods(t *testing.T) {
	n := startNode(t)
	n.serve()
	for _, b := range behaviours {
		ok := t.Run(b.name, func(t *testing.T) {
			here := n.in(t)
			b.show(here)
			n.kubelet = here.kubelet // it may have been restarted
			n.board.WantIdle(t)
		})
		if !ok {
			n.empty() // or the next would find the processor busy
		}
	}
}
