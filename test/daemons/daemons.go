//go:build engine || kubernetes

// Package daemons starts the engines of the tests, that make engines fetches or
// builds: real ones, on sockets and in folders of a test's own, without a service
// manager. They need root, end with the test, and leave nothing.
package daemons

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
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

// Dir is where make engines puts the daemons.
func Dir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("HYBRID_ENGINES")
	if dir == "" {
		t.Fatal("HYBRID_ENGINES must name the folder in which make engines puts buildkitd, Docker and podman")
	}
	return dir
}

// Daemon is a process that a test starts, and ends with the test.
type Daemon struct {
	Socket string // that it listens on

	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

// Start starts a daemon, and waits until it listens on a socket.
func Start(t *testing.T, socket string, attr *syscall.SysProcAttr, env []string, name string, args ...string) *Daemon {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = attr
	d := Run(t, cmd, func() error {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	d.Socket = socket
	return d
}

// Run starts a daemon, and waits until it is ready.
func Run(t *testing.T, cmd *exec.Cmd, ready func() error) *Daemon {
	t.Helper()
	d := &Daemon{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(d.done) }()
	t.Cleanup(func() { d.Stop(t) })
	for deadline := time.Now().Add(daemonStarts); ; time.Sleep(20 * time.Millisecond) {
		err := ready()
		if err == nil {
			return d
		}
		select {
		case <-d.done:
			t.Fatalf("%q ended: %v\n%s", cmd.Args, cmd.ProcessState, &d.log)
		default:
		}
		if time.Now().After(deadline) {
			d.Stop(t)
			t.Fatalf("%q is not ready: %v\n%s", cmd.Args, err, &d.log)
		}
	}
}

// Address is what its clients call a daemon.
func (d *Daemon) Address() string { return "unix://" + d.Socket }

// PID is its process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Stop ends a daemon as its service manager would.
func (d *Daemon) Stop(t *testing.T) {
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

// Log is what a daemon that has ended has said.
func (d *Daemon) Log() string { <-d.done; return d.log.String() }

// Kill ends a daemon as nobody should.
func (d *Daemon) Kill(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.done
}

// Buildkitd starts buildkitd, with an OCI worker unless worker says otherwise, and
// returns its address.
func Buildkitd(t *testing.T, dir string, worker ...string) string {
	t.Helper()
	config := filepath.Join(dir, "buildkitd.toml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "buildkitd.sock")
	if worker == nil {
		worker = []string{"--oci-worker-net", "host", "--containerd-worker=false"}
	}
	Start(t, socket, nil, nil, filepath.Join(Dir(t), "buildkitd"), append([]string{
		"--config", config, "--root", filepath.Join(dir, "buildkit"),
		"--addr", "unix://" + socket, "--otel-socket-path", filepath.Join(dir, "otel.sock"),
	}, worker...)...)
	return "unix://" + socket
}

// Podman puts a podman command into dir/bin that keeps all below dir, and has config
// in the table engine of its configuration.
func Podman(t *testing.T, dir, config string) string {
	t.Helper()
	from := filepath.Join(Dir(t), "podman")
	policy, err := os.ReadFile(filepath.Join(from, "etc/containers/policy.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"home/.config/containers/policy.json": string(policy),
		// the limits of every machine: who may not raise them could run nothing
		"containers.conf": fmt.Sprintf("[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n[engine]\nconmon_path = [%q]\n%s\n", from+"/usr/bin/conmon", config),
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

// Docker starts a Docker Engine with its own containerd, the one in the folder with,
// in a network of its own where it may have a bridge.
func Docker(t *testing.T, dir, dockerd, with string, config map[string]any, env ...string) *Daemon {
	t.Helper()
	// no proxy: Debian has it in the package of its Docker, which is not installed
	all := map[string]any{"userland-proxy": false}
	maps.Copy(all, config)
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "docker.sock")
	path := "PATH=" + with + string(os.PathListSeparator) + os.Getenv("PATH")
	// a network and mounts of its own: it changes the one, and may leave some of the other
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	return Start(t, socket, attr, append([]string{path}, env...), filepath.Join(Dir(t), dockerd),
		"--config-file", name, "--data-root", filepath.Join(dir, "root"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--host", "unix://"+socket, "--iptables=false", "--ip6tables=false")
}

// WantNothingLeft wants no process and no mount that knows of dir.
func WantNothingLeft(t *testing.T, dir string) {
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
