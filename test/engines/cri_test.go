//go:build engine

package engines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

const (
	imagePause = "pause:1" // of the process that keeps a pod's namespaces
	criTimeout = 30 * time.Second
	// eventTimeout is how long a crash may take to be an event where much else goes on: else
	// it takes some tens of milliseconds.
	eventTimeout = 5 * time.Second
)

// handlers are the runtimes that a RuntimeClass may name: our shim, and the stock one
// with our binary.
func handlers(bin string) map[string]string {
	return map[string]string{
		"hybrid": fmt.Sprintf("  runtime_type = %q", shimRuntime),
		"stock":  fmt.Sprintf("  runtime_type = \"io.containerd.runc.v2\"\n[@.options]\n  BinaryName = %q", bin),
	}
}

// kubelet does what kubelet does, through the interface that it has to containerd, in
// one pod.
type kubelet struct {
	*testing.T
	cri.RuntimeServiceClient
	images cri.ImageServiceClient

	d       *fixture.Board
	dir     string
	handler string
	silent  bool   // there are no events
	restart func() // of containerd

	name    string // of the pod
	pod     string // its ID
	sandbox *cri.PodSandboxConfig
}

// dial is a client of the containerd that listens on a socket.
func dial(t *testing.T, socket string) (cri.RuntimeServiceClient, cri.ImageServiceClient) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)
}

// ask asks containerd, and fails the test if it says no.
func ask[Q, A any](k *kubelet, f func(context.Context, Q, ...grpc.CallOption) (A, error), q Q) A {
	k.Helper()
	a, err := try(k, f, q)
	if err != nil {
		k.Fatalf("%T: %v", q, err)
	}
	return a
}

func try[Q, A any](k *kubelet, f func(context.Context, Q, ...grpc.CallOption) (A, error), q Q) (A, error) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), criTimeout)
	defer cancel()
	return f(ctx, q)
}

// runPod starts the pod, with a network of its own.
func (k *kubelet) runPod() {
	k.Helper()
	k.sandbox = &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: k.name, Uid: k.name + "-uid", Namespace: "test"},
		LogDirectory: filepath.Join(k.dir, "logs", k.name),
		Linux:        &cri.LinuxPodSandboxConfig{CgroupParent: "/" + fixture.Prefix + "ctr"},
	}
	if err := os.MkdirAll(k.sandbox.LogDirectory, 0o700); err != nil {
		k.Fatal(err)
	}
	k.pod = ask(k, k.RunPodSandbox, &cri.RunPodSandboxRequest{Config: k.sandbox, RuntimeHandler: k.handler}).PodSandboxId
	status := ask(k, k.PodSandboxStatus, &cri.PodSandboxStatusRequest{PodSandboxId: k.pod}).Status
	if status.State != cri.PodSandboxState_SANDBOX_READY || status.RuntimeHandler != k.handler || status.GetNetwork().GetIp() == "" {
		k.Errorf("the pod is %v", status)
	}
}

// removePod removes the pod with all that is in it, if it is there.
func (k *kubelet) removePod() {
	k.Helper()
	if k.pod == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), criTimeout) // also after the test
	defer cancel()
	_, err := k.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: k.pod})
	if err == nil {
		_, err = k.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: k.pod})
	}
	if err != nil {
		k.Errorf("the pod stays: %v", err)
	}
	k.pod = ""
}

// create makes a container in the pod.
func (k *kubelet) create(name, image string) (string, error) {
	k.Helper()
	a, err := try(k, k.CreateContainer, &cri.CreateContainerRequest{
		PodSandboxId: k.pod, SandboxConfig: k.sandbox,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: name},
			Image:    &cri.ImageSpec{Image: "docker.io/library/" + image},
			LogPath:  name + ".log",
			Linux:    &cri.LinuxContainerConfig{},
		},
	})
	return a.GetContainerId(), err
}

// up makes and starts firmware, and waits until it has greeted.
func (k *kubelet) up() string {
	k.Helper()
	id, err := k.create("firmware", imageHello)
	if err != nil {
		k.Fatal(err)
	}
	if s := k.status(id); s.State != cri.ContainerState_CONTAINER_CREATED {
		k.Errorf("the container is %v", s.State)
	}
	ask(k, k.StartContainer, &cri.StartContainerRequest{ContainerId: id})
	k.d.WantState(k.T, "running")
	if s := k.status(id); s.State != cri.ContainerState_CONTAINER_RUNNING {
		k.Errorf("the container is %v", s.State)
	}
	k.logs("firmware", "stdout F "+fixture.Greeting)
	return id
}

func (k *kubelet) status(id string) *cri.ContainerStatus {
	k.Helper()
	return ask(k, k.ContainerStatus, &cri.ContainerStatusRequest{ContainerId: id}).Status
}

// logs wants a line with this text in the log of a container, after the time.
func (k *kubelet) logs(name, want string) {
	k.Helper()
	fixture.Eventually(k.T, func() error {
		text, err := os.ReadFile(filepath.Join(k.sandbox.LogDirectory, name+".log"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			when, said, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if _, err := time.Parse(time.RFC3339Nano, when); err != nil {
				return err
			}
			if strings.HasPrefix(said, want) {
				return nil
			}
		}
		return fmt.Errorf("log %q, want a line %q", text, want)
	})
}

// ended wants the container to have this exit code, and the processor to be free.
func (k *kubelet) ended(id string, code int32) {
	k.Helper()
	k.exited(id, code)
	k.d.WantState(k.T, "offline")
}

func (k *kubelet) remove(id string) {
	k.Helper()
	ask(k, k.RemoveContainer, &cri.RemoveContainerRequest{ContainerId: id})
	if list := ask(k, k.ListContainers, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{Id: id}}); len(list.Containers) != 0 {
		k.Errorf("listed when removed: %v", list.Containers)
	}
}

// stop stops a container as kubelet does: seconds after the signal it is killed.
func (k *kubelet) stop(id string, seconds int64) {
	k.Helper()
	ask(k, k.StopContainer, &cri.StopContainerRequest{ContainerId: id, Timeout: seconds})
}

// events waits for events of containers; it is nil where containerd tells of none.
func (k *kubelet) events() func(id string, want cri.ContainerEventType) time.Time {
	k.Helper()
	if k.silent {
		return nil
	}
	stream, err := k.GetContainerEvents(k.Context(), &cri.GetEventsRequest{})
	if err != nil {
		k.Fatal(err)
	}
	type event struct {
		*cri.ContainerEventResponse
		at time.Time
	}
	all := make(chan event, 100)
	go func() {
		defer close(all)
		for {
			e, err := stream.Recv()
			if err != nil {
				return // the test has ended
			}
			all <- event{e, time.Now()}
		}
	}()
	return func(id string, want cri.ContainerEventType) time.Time {
		k.Helper()
		for late := time.After(eventTimeout); ; {
			select {
			case e, ok := <-all:
				if !ok {
					k.Fatal("the events ended")
				} else if e.ContainerId == id && e.ContainerEventType == want {
					return e.at
				}
			case <-late:
				k.Fatalf("no %v of %s", want, id)
			}
		}
	}
}

// criBehaviours are what is wanted of a pod.
var criBehaviours = []struct {
	name string
	show func(k *kubelet)
}{
	{"status, list, statistics, log", func(k *kubelet) {
		id := k.up()
		list := ask(k, k.ListContainers, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{PodSandboxId: k.pod}})
		if len(list.Containers) != 1 || list.Containers[0].Id != id || list.Containers[0].State != cri.ContainerState_CONTAINER_RUNNING {
			k.Errorf("list: %v", list)
		}
		fixture.Eventually(k.T, func() error {
			stats := ask(k, k.ContainerStats, &cri.ContainerStatsRequest{ContainerId: id}).Stats
			if stats.GetMemory().GetWorkingSetBytes().GetValue() == 0 || stats.GetCpu().GetUsageCoreNanoSeconds().GetValue() == 0 {
				return fmt.Errorf("statistics %v", stats)
			}
			return nil
		})
		// what rotates logs moves them away, and asks for new ones
		log := filepath.Join(k.sandbox.LogDirectory, "firmware.log")
		if err := os.Rename(log, log+".1"); err != nil {
			k.Fatal(err)
		}
		ask(k, k.ReopenContainerLog, &cri.ReopenContainerLogRequest{ContainerId: id})
		k.printsAndStops(id)
	}},
	{"stop is exit code 0, at once", func(k *kubelet) {
		id := k.up()
		began := time.Now()
		k.stop(id, 20)
		if took := time.Since(began); took > 10*time.Second {
			k.Errorf("it took %v", took)
		}
		k.ended(id, 0)
		if s := k.status(id); s.Reason != "Completed" {
			k.Errorf("reason %q", s.Reason)
		}
		k.remove(id)
	}},
	{"kill is exit code 137", func(k *kubelet) {
		id := k.up()
		k.stop(id, 0)
		k.ended(id, 137)
		k.remove(id)
	}},
	{"crash is exit code 139, and a new container runs", func(k *kubelet) {
		id := k.up()
		next := k.events()
		began := time.Now()
		k.d.Crash()
		if next != nil {
			k.Logf("crash to event: %v", next(id, cri.ContainerEventType_CONTAINER_STOPPED_EVENT).Sub(began))
		}
		k.ended(id, 139)
		if s := k.status(id); s.Reason != "Error" {
			k.Errorf("reason %q", s.Reason)
		}
		k.logs("firmware", "stderr F hybrid: the firmware crashed")
		k.remove(id)
		again := k.up()
		k.stop(again, 10)
		k.ended(again, 0)
		k.remove(again)
	}},
	{"exec is refused", func(k *kubelet) {
		id := k.up()
		_, err := try(k, k.ExecSync, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"true"}, Timeout: 5})
		if err == nil || !strings.Contains(err.Error(), "exec is not possible: the firmware is all that runs on a remote processor") {
			k.Errorf("exec: %v", err)
		}
		k.stop(id, 10)
		k.ended(id, 0)
		k.remove(id)
	}},
	{"restart of containerd", func(k *kubelet) {
		id := k.up()
		k.restart()
		if s := k.status(id); s.State != cri.ContainerState_CONTAINER_RUNNING || k.d.State() != "running" {
			k.Errorf("the container is %v, the processor %s", s.State, k.d.State())
		}
		k.printsAndStops(id)
	}},
	{"a busy processor is refused", func(k *kubelet) {
		id := k.up()
		k.refused(imageHello, "remote processor remoteproc0 (m4) is busy: container "+id+" holds it")
		if s := k.status(id); s.State != cri.ContainerState_CONTAINER_RUNNING {
			k.Errorf("the first is %v", s.State)
		}
		k.stop(id, 10)
		k.ended(id, 0)
		k.remove(id)
	}},
	{"another board is refused", func(k *kubelet) {
		k.refused(imageOther, "board imx8m-mini wanted, this is qemu-virt")
	}},
	{"a Linux container in the pod", func(k *kubelet) {
		id := k.up()
		linux, err := k.create("linux", imageLinux)
		if err != nil {
			k.Fatal(err)
		}
		ask(k, k.StartContainer, &cri.StartContainerRequest{ContainerId: linux})
		said := ask(k, k.ExecSync, &cri.ExecSyncRequest{ContainerId: linux, Cmd: []string{"/bin/busybox", "ip", "address"}, Timeout: 5})
		if said.ExitCode != 0 || !strings.Contains(string(said.Stdout), "10.88.0.") {
			k.Errorf("exec: %v", said)
		}
		k.stop(linux, 0)
		k.exited(linux, 137)
		if s := k.status(id); s.State != cri.ContainerState_CONTAINER_RUNNING {
			k.Errorf("the firmware is %v", s.State)
		}
		k.stop(id, 10)
		k.ended(id, 0)
	}},
	{"removing a pod stops the firmware", func(k *kubelet) {
		k.up()
		pod := k.pod
		k.removePod()
		k.d.WantState(k.T, "offline")
		if list := ask(k, k.ListPodSandbox, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{Id: pod}}); len(list.Items) != 0 {
			k.Errorf("listed when removed: %v", list.Items)
		}
	}},
}

// refused wants a second container to fail at once, with these words.
func (k *kubelet) refused(image, says string) {
	k.Helper()
	began := time.Now()
	id, err := k.create("refused", image)
	if err == nil { // containerd asks the runtime for it when it is started
		_, err = try(k, k.StartContainer, &cri.StartContainerRequest{ContainerId: id})
	}
	if err == nil || !strings.Contains(err.Error(), says) {
		k.Errorf("started: %v, want %q", err, says)
	}
	if took := time.Since(began); took > 5*time.Second {
		k.Errorf("it took %v", took)
	}
	if s := k.status(id); s.State != cri.ContainerState_CONTAINER_EXITED || s.Reason != "StartError" || !strings.Contains(s.Message, says) {
		k.Errorf("status %v", s)
	}
	k.remove(id)
}

// printsAndStops wants the log to go on, and the firmware to be stopped as always.
func (k *kubelet) printsAndStops(id string) {
	k.Helper()
	if err := k.d.Server.Core(0).Trace("after\n"); err != nil {
		k.Fatal(err)
	}
	k.logs("firmware", "stdout F after")
	k.stop(id, 10)
	k.ended(id, 0)
	k.remove(id)
}

// exited wants a container to have this exit code.
func (k *kubelet) exited(id string, code int32) {
	k.Helper()
	fixture.Eventually(k.T, func() error {
		if s := k.status(id); s.State != cri.ContainerState_CONTAINER_EXITED || s.ExitCode != code {
			return fmt.Errorf("the container is %v, exit code %d, %s; want %d", s.State, s.ExitCode, s.Reason, code)
		}
		return nil
	})
}

func TestCRI(t *testing.T) {
	bin, images := built(t), images(t)
	for name, r := range releases {
		t.Run(name, func(t *testing.T) {
			d, dir := ground(t)
			engines, network := daemons.Dir(t), daemons.NewNetwork(t)
			c := daemons.CRI{
				Containerd: r.from + "/containerd", Version: r.config, Sandbox: "docker.io/library/" + imagePause, Handlers: handlers(bin),
			}
			start := func() *daemons.Daemon {
				return c.Start(t, dir, network,
					"PATH="+filepath.Join(engines, r.from)+":"+engines+"/runc/usr/sbin:"+filepath.Dir(bin)+":"+os.Getenv("PATH"), "HYBRID_SYSROOT="+d.Dir)
			}
			daemon := start()
			ctr := client{args: []string{filepath.Join(engines, r.from, "ctr"), "--address", daemon.Socket, "--namespace", "k8s.io"}}
			for _, i := range images {
				if r.pulls {
					ctr.must(t, "images", "import", "--local", i.archive) // else it unpacks with its own snapshotter
				} else {
					ctr.must(t, "images", "import", i.archive)
				}
			}
			for n, handler := range slices.Sorted(maps.Keys(handlers(bin))) {
				for m, b := range criBehaviours {
					t.Run(handler+"/"+b.name, func(t *testing.T) {
						k := &kubelet{T: t, d: d, dir: dir, handler: handler, silent: r.from == debian.from, name: fmt.Sprintf("%s%d-%d", fixture.Prefix, n, m)}
						connect := func() {
							k.RuntimeServiceClient, k.images = dial(t, daemon.Socket)
							fixture.Eventually(t, func() error { return ready(k) })
						}
						connect()
						k.restart = func() { daemon.Kill(t); daemon = start(); connect() }
						t.Cleanup(k.removePod)
						k.runPod()
						b.show(k)
						k.removePod()
						d.WantIdle(t)
					})
				}
			}
		})
	}
}

// ready wants containerd and its network to say that they are, and to know the images.
func ready(k *kubelet) error {
	status, err := try(k, k.Status, &cri.StatusRequest{})
	if err != nil {
		return err
	}
	for _, c := range status.GetStatus().GetConditions() {
		if !c.Status && (c.Type == "RuntimeReady" || c.Type == "NetworkReady") {
			return fmt.Errorf("not ready: %v", c)
		}
	}
	for _, name := range []string{imageHello, imageLinux, imageOther, imagePause} {
		i, err := try(k, k.images.ImageStatus, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: "docker.io/library/" + name}})
		if err != nil || i.Image == nil {
			return errors.Join(err, fmt.Errorf("no image %s", name))
		}
	}
	return nil
}
