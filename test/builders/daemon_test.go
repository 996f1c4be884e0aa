//go:build engine

package builders

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	daemonStarts = 30 * time.Second // a daemon answers within
	daemonStops  = 30 * time.Second // a daemon ends within
)

// enginesDir is where make engines puts the daemons.
func enginesDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("HYBRID_ENGINES")
	if dir == "" {
		t.Fatal("HYBRID_ENGINES must name the folder in which make engines puts buildkitd, Docker and podman")
	}
	return dir
}

// daemon is a process that a test starts, and ends with the test.
type daemon struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

// start starts a daemon, and waits until it listens on a socket.
func start(t *testing.T, socket string, attr *syscall.SysProcAttr, env []string, name string, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.Command(name, args...), done: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	d.cmd.SysProcAttr = attr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.cmd.Wait(); close(d.done) }()
	t.Cleanup(func() { d.stop(t) })
	for deadline := time.Now().Add(daemonStarts); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return d
		}
		select {
		case <-d.done:
			t.Fatalf("%s ended: %v\n%s", name, d.cmd.ProcessState, &d.log)
		default:
		}
		if time.Now().After(deadline) {
			d.stop(t)
			t.Fatalf("%s does not listen on %s\n%s", name, socket, &d.log)
		}
	}
}

// stop ends a daemon as its service manager would.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-d.done:
	case <-time.After(daemonStops):
		_ = d.cmd.Process.Kill()
		<-d.done
		t.Errorf("%s had to be killed\n%s", d.cmd.Path, &d.log)
	}
}

// startBuildkitd starts buildkitd, with an OCI worker unless worker says otherwise, and
// returns its address.
func startBuildkitd(t *testing.T, dir string, worker ...string) string {
	t.Helper()
	config := filepath.Join(dir, "buildkitd.toml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "buildkitd.sock")
	if worker == nil {
		worker = []string{"--oci-worker-net", "host", "--containerd-worker=false"}
	}
	start(t, socket, nil, nil, filepath.Join(enginesDir(t), "buildkitd"), append([]string{
		"--config", config, "--root", filepath.Join(dir, "buildkit"),
		"--addr", "unix://" + socket, "--otel-socket-path", filepath.Join(dir, "otel.sock"),
	}, worker...)...)
	return "unix://" + socket
}

// startContainerd starts containerd without what runs containers, and returns its
// address.
func startContainerd(t *testing.T, dir string) string {
	t.Helper()
	socket, config := filepath.Join(dir, "containerd.sock"), filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(`version = 3
root = "%[1]s/root"
state = "%[1]s/run"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri"]
[grpc]
  address = "%[2]s"
[ttrpc]
  address = "%[2]s.ttrpc"
`, dir, socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, socket, nil, nil, filepath.Join(enginesDir(t), "containerd"), "--config", config)
	return socket
}

// podman puts a podman command into dir/bin that keeps all below dir.
func podman(t *testing.T, dir string) string {
	t.Helper()
	from := filepath.Join(enginesDir(t), "podman")
	for name, text := range map[string]string{
		"home/.config/containers/policy.json": string(read(t, filepath.Join(from, "etc/containers/policy.json"))),
		"containers.conf":                     fmt.Sprintf("[engine]\nconmon_path = [%q]\nruntime = \"runc\"\n", from+"/usr/bin/conmon"),
		"bin/podman": fmt.Sprintf(`#!/bin/sh
HOME=%[1]s/home CONTAINERS_CONF=%[1]s/containers.conf TMPDIR=%[1]s exec %[2]s/usr/bin/podman --root %[1]s/storage --runroot %[1]s/run \
	--tmpdir %[1]s/tmp --storage-driver vfs --cgroup-manager cgroupfs --events-backend file "$@"
`, dir, from),
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "bin")
}

// startDocker starts a Docker Engine with its own containerd, in a network of its own
// where it may have a bridge, and returns its address.
func startDocker(t *testing.T, dir, dockerd string) string {
	t.Helper()
	config := filepath.Join(dir, "daemon.json")
	// no proxy: Debian has it in the package of its Docker, which is not installed
	if err := os.WriteFile(config, []byte(`{"userland-proxy": false}`), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "docker.sock")
	path := "PATH=" + enginesDir(t) + string(os.PathListSeparator) + os.Getenv("PATH")
	// a network and mounts of its own: it changes the one, and may leave some of the other
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	start(t, socket, attr, []string{path}, filepath.Join(enginesDir(t), dockerd),
		"--config-file", config, "--data-root", filepath.Join(dir, "root"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--host", "unix://"+socket, "--iptables=false", "--ip6tables=false")
	return "unix://" + socket
}

// dockerImage is what a Docker Engine says of an image.
type dockerImage struct {
	ID           string `json:"Id"`
	Architecture string
	Config       struct{ Labels map[string]string }
}

func inspect(t *testing.T, address, name string) dockerImage {
	t.Helper()
	var i dockerImage
	get(t, address, "/images/"+name+"/json", &i)
	return i
}

// get asks a Docker Engine.
func get(t *testing.T, address, path string, answer any) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(address, "unix://"))
	}}}
	defer c.CloseIdleConnections()
	r, err := c.Get("http://docker" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, r.Status)
	}
	if err := json.NewDecoder(r.Body).Decode(answer); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// wantNothingLeft wants no process and no mount that knows of dir.
func wantNothingLeft(t *testing.T, dir string) {
	t.Helper()
	var left string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if left = leftOf(t, dir); left == "" {
			return
		}
	}
	t.Errorf("left behind: %s", left)
}

func leftOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		line, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it ended
		} else if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(line, []byte(dir)) {
			return fmt.Sprintf("process %s %q", f, line)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(mounts), "\n") {
		if strings.Contains(line, dir) {
			return "mount " + line
		}
	}
	return ""
}
