//go:build engine

package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/sim/vm"
	linux "github.com/hybrid-containers/hybrid/sim/vm/debian"
	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// virtual is a virtual board with Debian's containerd for it.
type virtual struct {
	*testing.T
	board *vm.VM
	files string // a folder of the host that the board sees as /files
}

// prepare makes the board a system that containerd can live in: it has busybox alone.
// The engine's programs are linked with Debian's libraries; runc forgets where they are
// if it is told by the environment.
const prepare = `
mkdir -p /usr/lib /etc
ln -s /engine/lib/ld-linux-armhf.so.3 /engine/lib/arm-linux-gnueabihf /lib/
ln -s /engine/usr/lib/arm-linux-gnueabihf /usr/lib/
ln -s /engine/usr/sbin/runc /engine/usr/bin/containerd /engine/usr/bin/ctr /engine/usr/bin/crictl /usr/bin/
echo 127.0.0.1 localhost >/etc/hosts
: >/etc/resolv.conf
cat >/etc/crictl.yaml <<end
runtime-endpoint: unix:///run/containerd/containerd.sock
timeout: 60
end
cat >/etc/hybrid.toml <<end
# the root is an initramfs, of which nothing can be made another root
NoPivotRoot = true
end
cat >/etc/containerd.toml <<end
version = 2
root = "/tmp/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/linux:1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "hybrid"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.hybrid]
      runtime_type = "io.containerd.hybrid.v1"
      pod_annotations = ["hybrid.*"]
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.hybrid.options]
        ConfigPath = "/etc/hybrid.toml"
end
`

func newVirtual(t *testing.T) *virtual {
	t.Helper()
	bin, err := filepath.Abs("../../bin/linux_arm")
	if err != nil {
		t.Fatal(err)
	}
	v := &virtual{T: t, files: t.TempDir()}
	v.board, err = vm.Start(context.Background(), vm.Config{
		GuestInit: filepath.Join(bin, "hybrid-sim-guest"),
		Shares: []vm.Share{
			{Host: filepath.Join(daemons.Dir(t), "armhf"), Guest: "/engine", ReadOnly: true, Constant: true},
			{Host: bin, Guest: "/usr/local/bin", ReadOnly: true, Constant: true},
			{Host: v.files, Guest: "/files", ReadOnly: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.board.Close(); err != nil {
			t.Error(err)
		}
	})
	v.sh(prepare)
	var log bytes.Buffer
	containerd := v.board.Command(context.Background(), "containerd", "--config", "/etc/containerd.toml")
	containerd.Stdout, containerd.Stderr = &log, &log
	if err := containerd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the board ends
		_ = containerd.Signal(15)
		if err := containerd.Wait(); err != nil || t.Failed() {
			t.Errorf("containerd ended: %v\n%s", err, &log)
		}
	})
	fixture.Within(t, time.Minute, func() error {
		if _, err := v.try("ctr version"); err != nil {
			return fmt.Errorf("containerd does not answer: %w", err)
		}
		return nil
	})
	return v
}

// try runs a script on the board.
func (v *virtual) try(script string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(v.Context(), 2*time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := v.board.Command(ctx, "sh", append([]string{"-ec", script, "sh"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %q: %w: %s", script, args, err, &errOut)
	}
	return strings.TrimSpace(out.String()), nil
}

func (v *virtual) sh(script string, args ...string) string {
	v.Helper()
	out, err := v.try(script, args...)
	if err != nil {
		v.Fatal(err)
	}
	return out
}

// load makes containerd of the board know an image.
func (v *virtual) load(file string) {
	v.Helper()
	v.sh("ctr --namespace k8s.io images import --snapshotter native $1", "/files/"+file)
}

// file writes what crictl reads.
func (v *virtual) file(name string, content any) string {
	v.Helper()
	b, err := json.Marshal(content)
	if err == nil {
		err = os.WriteFile(filepath.Join(v.files, name), b, 0o644)
	}
	if err != nil {
		v.Fatal(err)
	}
	return "/files/" + name
}

// start starts a container of a pod, and returns its ID.
func (v *virtual) start(pod, container, config string) string {
	v.Helper()
	id := v.sh("crictl create $1 $2 $3", pod, container, config)
	v.sh("crictl start $1", id)
	return id
}

// says wants a container to have said something.
func (v *virtual) says(id, want string) {
	v.Helper()
	fixture.Eventually(v.T, func() error {
		if log := v.sh("crictl logs $1 2>&1", id); !strings.Contains(log, want) {
			return fmt.Errorf("no %q in the log:\n%s", want, log)
		}
		return nil
	})
}

// ended wants a container to have ended with an exit code.
func (v *virtual) ended(id string, code int) {
	v.Helper()
	fixture.Eventually(v.T, func() error {
		var c struct {
			Status struct {
				State    string
				ExitCode int
			}
		}
		if err := json.Unmarshal([]byte(v.sh("crictl inspect $1", id)), &c); err != nil {
			return err
		}
		if c.Status.State != "CONTAINER_EXITED" || c.Status.ExitCode != code {
			return fmt.Errorf("%+v, want it to have ended with %d", c.Status, code)
		}
		return nil
	})
	if state := v.sh("cat /sys/class/remoteproc/remoteproc0/state"); state != "offline" {
		v.Errorf("the processor is %s", state)
	}
}

// TestVirtualBoardPod has a pod of a Linux container and firmware that talk over rpmsg,
// on a real kernel with a core that runs: Debian's containerd and runc, our shim, and CRI.
func TestVirtualBoardPod(t *testing.T) {
	v := newVirtual(t)
	kernel, err := linux.LookupKernel("")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := linux.Cache()
	if err != nil {
		t.Fatal(err)
	}
	files, err := linux.Get(t.Context(), cache, kernel, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile(files.Busybox)
	if err != nil {
		t.Fatal(err)
	}
	fixture.Archive(t, filepath.Join(v.files, "linux.tar"), "docker.io/library/linux:1", fixture.Content{
		Files: map[string][]byte{"bin/busybox": busybox}, Entrypoint: []string{"/bin/busybox", "sleep", "100000"}, Arch: "arm",
	})
	hybridBuild(t, picture{name: "echo:1", archive: filepath.Join(v.files, "echo.tar")}, "../kernel/firmware/rpmsg", "qemu-virt", "linux/arm/v7")
	v.load("linux.tar")
	v.load("echo.tar")

	type object = map[string]any
	config := v.file("pod.json", object{
		"metadata": object{"name": "mixed", "namespace": "default", "uid": "1"}, "log_directory": "/tmp/logs",
		"annotations": object{"hybrid.console": "trace"}, // the terminal is for the Linux container
		"linux":       object{"security_context": object{"namespace_options": object{"network": 2}}},
	})
	firmware := func(name string) string {
		return v.file(name+".json", object{
			"metadata": object{"name": name}, "image": object{"image": "docker.io/library/echo:1"}, "log_path": name + ".log",
		})
	}
	// The first process of a container leads a session: a terminal that it opened itself
	// would be its own, and would end it when the firmware ends.
	gateway := v.file("gateway.json", object{
		"metadata": object{"name": "gateway"}, "image": object{"image": "docker.io/library/linux:1"}, "log_path": "gateway.log",
		"command": []string{"/bin/busybox", "sh", "-c", `busybox stty -F /dev/ttyRPMSG0 raw -echo
(
	exec 3<>/dev/ttyRPMSG0
	echo "ping over rpmsg" >&3
	read line <&3
	echo "the firmware answers: $line"
)
exec busybox sleep 1000`},
		"devices": []object{{"host_path": "/dev/ttyRPMSG0", "container_path": "/dev/ttyRPMSG0", "permissions": "rw"}},
	})

	pod := v.sh("crictl runp --runtime hybrid $1", config)
	first := v.start(pod, firmware("firmware"), config)
	v.says(first, "announced")
	fixture.Eventually(t, func() error { _, err := v.try("test -c /dev/ttyRPMSG0"); return err })
	with := v.start(pod, gateway, config)
	v.says(with, "the firmware answers: ping over rpmsg")
	if state := v.sh("cat /sys/class/remoteproc/remoteproc0/state"); state != "running" {
		t.Errorf("the processor is %s", state)
	}
	if shims := v.sh("ps | grep -c '[c]ontainerd-shim-hybrid-v1'"); shims != "1" {
		t.Errorf("%s shims, want one for the pod", shims)
	}
	t.Logf("on Linux %s:\n# crictl pods\n%s\n# crictl ps\n%s\n# crictl logs %.13s\n%s\n# crictl logs %.13s\n%s", v.sh("uname -rm"),
		v.sh("crictl pods"), v.sh("crictl ps"), first, v.sh("crictl logs $1 2>&1", first), with, v.sh("crictl logs $1 2>&1", with))

	v.sh("echo 1 >/sys/kernel/debug/remoteproc/remoteproc0/crash")
	v.ended(first, 139)
	v.says(first, "hybrid: the firmware crashed")
	if running := v.sh("crictl ps --quiet"); running != with {
		t.Errorf("after the crash there run %q, want the Linux container %s", running, with)
	}
	again := v.start(pod, firmware("again"), config)
	v.says(again, "announced")
	v.sh("crictl stop --timeout 10 $1", again)
	v.ended(again, 0)
	v.sh("crictl stopp $1; crictl rmp $1", pod)
	fixture.Eventually(t, func() error {
		if left, err := v.try("! ls -A /run/hybrid/containers /run/hybrid/processors /lib/firmware 2>/dev/null | grep -v -e : -e '^$' -e '[.]lock$'; ! ps | grep -e '[h]ybrid-monitor' -e '[c]ontainerd-shim'"); err != nil {
			return fmt.Errorf("left: %s", left)
		}
		return nil
	})
}
