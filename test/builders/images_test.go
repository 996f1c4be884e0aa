//go:build engine

package builders

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs"
	"github.com/hybrid-containers/hybrid/test/daemons"
)

// desk is a simulated board, and the runtime on it.
type desk struct {
	runtime, dir string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{runtime: filepath.Join(t.TempDir(), "hybrid-runtime"), dir: t.TempDir()}
	build := exec.Command("go", "build", "-o", d.runtime, "../../cmd/hybrid-runtime")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := board.Lookup("qemu-virt")
	if err != nil {
		t.Fatal(err)
	}
	server, err := sysfs.Mount(d.dir, sysfs.Config{
		Compatible: b.Compatible, Model: b.Model,
		Processors: []sysfs.Processor{{Name: "m4", NodeName: "m4", Compatible: []string{b.Cores[0].Compatible}, Memory: b.Cores[0].Memory}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// run runs a verb where the engine's command is found in path alone, if it is there.
func (d *desk) run(t *testing.T, path string, env []string, args ...string) (said string, code int) {
	t.Helper()
	cmd := exec.Command(d.runtime, args...)
	cmd.Env = append(os.Environ(), "HYBRID_SYSROOT="+d.dir, "PATH="+path, "DOCKER_CONFIG=/nonexistent", "DOCKER_CONTEXT=", "CONTAINERD_NAMESPACE=")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

// takes wants a container of an image to come up to the claim of the processor.
func (d *desk) takes(t *testing.T, path string, env []string, image string) {
	t.Helper()
	if said, code := d.run(t, path, env, "create", "--image", image, "web"); code != 0 {
		t.Errorf("%s: exit code %d: %s", image, code, said)
		return
	}
	said, _ := d.run(t, path, env, "state", "web")
	var state struct {
		Status, Bundle string
		Annotations    map[string]string
	}
	if err := json.Unmarshal([]byte(said), &state); err != nil {
		t.Fatalf("%s: %v", said, err)
	}
	bundle := image // of an engine: there is no path
	if layout, ok := strings.CutPrefix(image, "oci:"); ok {
		bundle, _, _ = strings.Cut(layout, ":")
	}
	if state.Status != "created" || state.Bundle != bundle || state.Annotations["board"] != "qemu-virt" || state.Annotations["remoteproc.name"] != "remoteproc0" {
		t.Errorf("%s: %+v", image, state)
	}
	firmware, err := os.ReadFile(filepath.Join(d.dir, "sys/class/remoteproc/remoteproc0/firmware"))
	if err != nil || !strings.HasPrefix(string(firmware), "hybrid/") {
		t.Errorf("%s: the processor's firmware is %q, %v", image, firmware, err)
	}
	if said, code := d.run(t, path, env, "delete", "--force", "web"); code != 0 {
		t.Errorf("%s: exit code %d: %s", image, code, said)
	}
}

// refuses wants an error of one line.
func (d *desk) refuses(t *testing.T, path string, env []string, image string, want ...string) {
	t.Helper()
	said, code := d.run(t, path, env, "create", "--image", image, "web")
	if code != 1 || strings.Count(said, "\n") != 1 {
		t.Errorf("%s: exit code %d\n%s", image, code, said)
	}
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("%s: %swant %q", image, said, w)
		}
	}
}

// What is built for a board and loaded into an engine is taken from there by the
// runtime on that board.
func TestTaken(t *testing.T) {
	b, d := served(t), newDesk(t)
	forBoard := []string{"--board", "qemu-virt"}
	const noSuch = "none:1"

	t.Run("containerd", func(t *testing.T) {
		dir := t.TempDir()
		t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
		env := []string{"CONTAINERD_ADDRESS=" + daemons.Containerd(t, dir, "containerd", 3, "").Socket}
		b := b
		b.env = with(b.env, append(env, "PATH="+daemons.Dir(t)+":"+os.Getenv("PATH"))...)
		b.makes(t, with(forBoard, "--tag", "hello", "--load=containerd")...)
		b.makes(t, with(twoTargets, "--tag", "fleet:2", "--load=containerd")...)
		b.makes(t, with(packed, "--tag", "packed", "--load=containerd", "--output", "type=docker,compression=zstd")...)
		b.env = append(b.env, "CONTAINERD_NAMESPACE=k8s.io")
		b.makes(t, with(forBoard, "--tag", "ghcr.io/team/pod:1", "--load=containerd")...)
		path := onlyIn(t, filepath.Join(daemons.Dir(t), "ctr"))
		for _, image := range []string{
			"containerd:hello", "containerd:docker.io/library/hello:latest", "containerd:default/hello", "containerd:fleet:2",
			"containerd:packed", "containerd:k8s.io/ghcr.io/team/pod:1", "hello", "fleet:2",
		} {
			d.takes(t, path, env, image)
		}
		for _, ctr := range []string{"1.7/ctr", "runc/usr/bin/ctr"} { // containerd 1.7's, and Debian's of 1.6
			d.takes(t, onlyIn(t, filepath.Join(daemons.Dir(t), ctr)), env, "containerd:hello")
		}
		d.refuses(t, path, env, "containerd:"+noSuch, "no image docker.io/library/none:1 in containerd's namespace default (it has docker.io/library/fleet:2, docker.io/library/hello:latest, docker.io/library/packed:latest)")
		d.refuses(t, path, env, "containerd:k8s.io/"+noSuch, "in containerd's namespace k8s.io (it has ghcr.io/team/pod:1)")
		d.refuses(t, path, []string{"CONTAINERD_ADDRESS=" + dir + "/nobody.sock"}, "containerd:hello", "ctr -n default images ls -q: ", dir+"/nobody.sock")
		d.refuses(t, path, env, "docker:hello", "docker is not in PATH")
	})

	t.Run("podman", func(t *testing.T) {
		dir := t.TempDir()
		t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
		bin := daemons.Podman(t, dir, `runtime = "runc"`)
		b := b
		b.env = with(b.env, "PATH="+bin+":"+os.Getenv("PATH"))
		b.makes(t, with(forBoard, "--tag", "hello", "--load=podman")...)
		b.makes(t, with(packed, "--tag", "packed", "--load=podman")...)
		path := bin + ":/usr/bin:/bin"
		for _, image := range []string{"podman:hello", "podman:docker.io/library/hello:latest", "podman:packed"} {
			d.takes(t, path, nil, image)
		}
		const zstd, skipped = "\x28\xb5\x2f\xfd", "\x50\x2a\x4d\x18" // a frame, and one to skip
		for name, c := range map[string]struct{ format, begins, has string }{
			"gzip": {"gzip", "\x1f\x8b", ""}, "zstd": {"zstd", zstd, ""}, "chunked": {"zstd:chunked", zstd, skipped},
		} {
			layout := filepath.Join(dir, name)
			output(t, nil, bin+"/podman", "push", "--quiet", "--compression-format", c.format, "hello", "oci:"+layout+":v1")
			d.takes(t, path, nil, "oci:"+layout+":v1")
			blobs, err := filepath.Glob(layout + "/blobs/sha256/*")
			if err != nil || !slices.ContainsFunc(blobs, func(b string) bool {
				content := string(read(t, b))
				return strings.HasPrefix(content, c.begins) && strings.Contains(content, c.has)
			}) {
				t.Errorf("%s: no layer of %q is so compressed, %v", c.format, blobs, err)
			}
		}
		d.refuses(t, path, nil, "podman:"+noSuch, "podman save ", "(podman has docker.io/library/hello:latest, docker.io/library/packed:latest)")
	})

	for name, daemon := range map[string]string{"Docker": "dockerd", "old Docker": "debian/usr/sbin/dockerd"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
			env := []string{"DOCKER_HOST=" + daemons.Docker(t, dir, daemon, daemons.Dir(t), nil).Address()}
			b := b
			b.env = with(b.env, env...)
			b.makes(t, with(forBoard, "--tag", "hello", "--load=docker")...)
			b.makes(t, with(packed, "--tag", "packed:2", "--load=docker")...)
			b.makes(t, with(oneTarget, "--tag", "other", "--load=docker")...)
			path := onlyIn(t, filepath.Join(daemons.Dir(t), "debian/usr/bin/docker"))
			for _, image := range []string{"docker:hello", "docker:packed:2", "hello"} {
				d.takes(t, path, env, image)
			}
			d.refuses(t, path, env, "docker:other", "image docker:other: board imx8m-mini wanted, this is qemu-virt (hybrid,qemu-virt)")
			d.refuses(t, path, env, "docker:"+noSuch, "docker save none:1: ", "(docker has hello:latest, other:latest, packed:2)")
			d.refuses(t, path, env, noSuch, "no such file or folder, and no engine has it: docker save none:1: ")
			d.refuses(t, path, []string{"DOCKER_HOST=unix://" + dir + "/nobody.sock"}, "docker:hello", "docker save hello: ", "Cannot connect to the Docker daemon at unix://"+dir+"/nobody.sock")
		})
	}
}

// onlyIn is a search path with one command.
func onlyIn(t *testing.T, command string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(command, filepath.Join(dir, filepath.Base(command))); err != nil {
		t.Fatal(err)
	}
	return dir
}
