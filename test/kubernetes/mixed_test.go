//go:build kubernetes

package kubernetes

import (
	"strings"
	"testing"
)

// mixed is a pod of firmware and of a Linux container that talks to it: it waits for the
// firmware's terminal, writes a line, and prints the answer. The device is there when the
// firmware runs, so what is mounted is the folder that it will be in; /dev/pts because in
// the simulation the device is a link to a terminal there. The probe is of the Linux
// container: kubelet connects to it.
const mixed = `
apiVersion: v1
kind: Pod
metadata: {name: mixed}
spec:
  runtimeClassName: hybrid
  terminationGracePeriodSeconds: 2
  containers:
    - name: firmware
      image: ` + imageEcho + `
      env: [{name: HYBRID_CONSOLE, value: trace}]
    - name: linux
      image: ` + imageLinux + `
      command: [/bin/busybox, sh, -c]
      args:
        - |
          tty=/board/ttyRPMSG0
          until [ -c $tty ]; do busybox sleep 0.1; done
          exec 3<>$tty
          busybox uname -s
          echo "hello, core" >&3
          read -r answer <&3
          echo "the core answers: $answer"
          exec busybox nc -ll -p 7000 -e /bin/busybox echo alive
      readinessProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}
      volumeMounts:
        - {name: board, mountPath: /board}
        - {name: terminals, mountPath: /dev/pts}
  volumes:
    - {name: board, hostPath: {path: BOARD/dev, type: Directory}}
    - {name: terminals, hostPath: {path: /dev/pts, type: Directory}}
`

// One RuntimeClass serves both containers of a pod.
func TestMixedPod(t *testing.T) {
	n := startNode(t)
	n.serve()
	n.apply(strings.ReplaceAll(mixed, "BOARD", n.board.Dir))
	if _, err := n.tryKubectl("wait", "--for=condition=Ready", "pod/mixed", "--timeout=60s"); err != nil {
		out, _ := n.tryKubectl("logs", "mixed", "--all-containers", "--prefix")
		t.Fatalf("%v\n%s\n%s", err, n.kubectl("describe", "pod", "mixed"), out)
	}
	n.says("the core answers: hello, core", "mixed", "--container", "linux")
	t.Logf("kubectl get pods\n%s", n.kubectl("get", "pods", "--output", "wide"))
	for _, container := range []string{"firmware", "linux"} {
		t.Logf("kubectl logs mixed --container %s\n%s", container, n.kubectl("logs", "mixed", "--container", container))
	}
	if got := n.board.Server.Core(0).Received(); got != "hello, core\n" {
		t.Errorf("the firmware received %q", got)
	}
	// the one ends without the other
	n.board.Crash()
	c := n.runs("mixed", 1, "--container", "firmware")
	if end := c.LastState.Terminated; end == nil || end.ExitCode != 139 {
		t.Errorf("before it was %+v", end)
	}
	s, _, err := n.status("mixed")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Status.ContainerStatuses {
		if c.Name == "linux" && (c.RestartCount != 0 || c.State.Running == nil) {
			t.Errorf("the Linux container ended with the firmware: %v", s)
		}
	}
	n.delete("pod", "mixed")
}
