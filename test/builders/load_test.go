//go:build engine

package builders

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/hybrid-containers/hybrid/test/daemons"
)

// made is what a build says that it made.
type made struct {
	Digest string `json:"containerimage.digest"`
	Config string `json:"containerimage.config.digest"` // not of an index
}

// run builds a project, and returns what hybrid says, and its exit code.
func (b builds) run(t *testing.T, project string, args ...string) (m made, said string, code int) {
	t.Helper()
	metadata := filepath.Join(t.TempDir(), "metadata.json")
	args = append([]string{
		"build", "--progress", "plain", "--metadata-file", metadata, "--build-context", "toolchain=oci-layout://" + base(t),
	}, args...)
	cmd := b.command(append(args, project)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return m, string(out), exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(metadata); err == nil {
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return m, string(out), 0
}

// makes wants the build to go well.
func (b builds) makes(t *testing.T, args ...string) made {
	t.Helper()
	m, said, code := b.run(t, project, args...)
	if code != 0 {
		t.Fatalf("%q: exit code %d\n%s", args, code, said)
	}
	return m
}

// refuses wants an error of one line before anything is built.
func (b builds) refuses(t *testing.T, want string, args ...string) {
	t.Helper()
	_, said, code := b.run(t, project, args...)
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := lines[len(lines)-1]
	if code != 1 || len(lines) != 2 || !strings.HasPrefix(lines[0], "building with ") || !strings.HasPrefix(last, "error: ") || !strings.Contains(last, want) {
		t.Errorf("%q: exit code %d, want 1, and no build but %q\n%s", args, code, want, said)
	}
}

// output is what a command prints.
func output(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, &complaint)
	}
	return string(out)
}

var (
	oneTarget  = []string{"--board", "imx8m-mini"}
	twoTargets = []string{"--target-core", "imx8m-mini", "--target-core", "qemu-virt"}
	packed     = append([]string{"--pack"}, twoTargets...)
)

// with is args and more.
func with(args []string, more ...string) []string {
	return append(append([]string{}, more...), args...)
}

// served is the BuildKit that builds what is loaded.
func served(t *testing.T, env ...string) builds {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
	daemons.Start(t, dir+"/hybrid.sock", nil, nil, hybrid, "builder", "serve", "--idle", "0", "--state", dir)
	return builds{env: append([]string{"HYBRID_STATE=" + dir, "HYBRID_BUILDER=embedded"}, env...)}
}

// What --load loads is in the engine under its name, and is what an archive of the
// same build holds.
func TestLoad(t *testing.T) {
	b := served(t)

	t.Run("kept", func(t *testing.T) { wantKept(t, b) })

	t.Run("containerd", func(t *testing.T) {
		dir := t.TempDir()
		t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
		address := daemons.Containerd(t, dir, "containerd", 3, "").Socket
		ctr := filepath.Join(daemons.Dir(t), "ctr")
		b := b
		b.env = with(b.env, "DOCKER_HOST=unix://"+dir+"/nobody.sock", "CONTAINERD_ADDRESS="+address, "PATH="+daemons.Dir(t)+":"+os.Getenv("PATH"))
		images := func(namespace string) map[string]string {
			found := map[string]string{}
			for line := range strings.Lines(output(t, nil, ctr, "--address", address, "--namespace", namespace, "images", "ls")) {
				if f := strings.Fields(line); len(f) > 3 && f[0] != "REF" {
					found[f[0]] = f[1] + " " + f[2]
				}
			}
			return found
		}
		content := func(digest string) string {
			return output(t, nil, ctr, "--address", address, "content", "get", digest)
		}
		for name, args := range map[string][]string{"one": oneTarget, "packed": packed} {
			// Docker, which is asked before, does not answer
			m := b.makes(t, with(args, "--tag", name, "--load", "--output", "type=oci,dest="+dir+"/"+name+".tar")...)
			if got := images("default")["docker.io/library/"+name+":latest"]; got != "application/vnd.oci.image.manifest.v1+json "+m.Digest {
				t.Errorf("%s: containerd has %q, want %s", name, got, m.Digest)
			}
			if manifest := content(m.Digest); !strings.Contains(manifest, m.Config) {
				t.Errorf("%s: manifest %s, want the config %s", name, manifest, m.Config)
			}
			if config := content(m.Config); !strings.Contains(config, "HYBRID_") {
				t.Errorf("%s: config %s", name, config)
			}
		}
		m := b.makes(t, with(twoTargets, "--tag", "index", "--load=containerd")...)
		if got := images("default")["docker.io/library/index:latest"]; got != "application/vnd.oci.image.index.v1+json "+m.Digest {
			t.Errorf("containerd has %q, want the index %s", got, m.Digest)
		}
		var index struct{ Manifests []struct{ Digest string } }
		if err := json.Unmarshal([]byte(content(m.Digest)), &index); err != nil || len(index.Manifests) != 2 {
			t.Errorf("index %+v, %v", index, err)
		}
		for _, manifest := range index.Manifests {
			if text := content(manifest.Digest); !strings.Contains(text, `"board"`) {
				t.Errorf("manifest %s", text)
			}
		}
		if _, said, code := b.run(t, project, with(oneTarget, "--load=containerd")...); code != 2 || !strings.Contains(said, "--tag NAME") {
			t.Errorf("without a name: exit code %d\n%s", code, said)
		}

		b.env = with(b.env, "CONTAINERD_NAMESPACE=boards")
		m = b.makes(t, with(oneTarget, "--tag", "elsewhere", "--load=containerd")...)
		const elsewhere = "docker.io/library/elsewhere:latest"
		if got := images("boards")[elsewhere]; !strings.HasSuffix(got, " "+m.Digest) || images("default")[elsewhere] != "" {
			t.Errorf("in the namespace boards %q, want %s; in the default one %q", got, m.Digest, images("default")[elsewhere])
		}
		b.env = append(b.env, "CONTAINERD_ADDRESS="+dir+"/nobody.sock")
		b.refuses(t, "--load: no engine answers (containerd: ctr: ", with(oneTarget, "--tag", "x", "--load=containerd")...)
	})

	t.Run("podman", func(t *testing.T) {
		dir := t.TempDir()
		t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
		bin := daemons.Podman(t, dir, `runtime = "runc"`)
		b := b
		b.env = with(b.env, "PATH="+bin+":"+os.Getenv("PATH"))
		for name, args := range map[string][]string{
			"one": oneTarget, "packed": packed, "zstd": with(oneTarget, "--output", "type=docker,compression=zstd"),
		} {
			// podman knows an image by its config, which must not be that of another
			m := b.makes(t, with(args, "--label", "test="+name, "--tag", name, "--load=podman")...)
			var found []struct {
				ID          string `json:"Id"`
				Digest      string
				Annotations map[string]string
			}
			text := output(t, nil, bin+"/podman", "image", "inspect", "docker.io/library/"+name+":latest")
			if err := json.Unmarshal([]byte(text), &found); err != nil || len(found) != 1 {
				t.Fatalf("%s: %v", text, err)
			}
			if i := found[0]; "sha256:"+i.ID != m.Config || i.Digest != m.Digest || i.Annotations["board"]+i.Annotations["targets"] == "" {
				t.Errorf("%s: podman has %+v, want %+v", name, i, m)
			}
		}
		b.refuses(t, "podman cannot take an index of several targets: put them into one image with --pack",
			with(twoTargets, "--tag", "index", "--load=podman")...)
	})

	t.Run("Docker", func(t *testing.T) {
		dir := t.TempDir()
		t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
		host := daemons.Docker(t, dir, "dockerd", daemons.Dir(t), nil).Address()
		b := b
		b.env = with(b.env, "DOCKER_HOST="+host)
		for _, load := range [][]string{nil, {"--load"}} {
			for name, args := range map[string][]string{
				"one": oneTarget, "packed": packed, "index": twoTargets, "zstd": with(oneTarget, "--output", "type=docker,compression=zstd"),
			} {
				m := b.makes(t, with(args, append(load, "--tag", name, "--tag", "also/"+name+":2")...)...)
				for _, n := range []string{name, "also/" + name + ":2"} {
					if i := inspect(t, host, n); i.ID != m.Digest {
						t.Errorf("%s: Docker has %s, want %s", n, i.ID, m.Digest)
					}
				}
			}
		}
		wantPushedAndLoaded(t, b, func(i dockerImage, m made) bool { return i.ID == m.Digest }, host)

		// the engine that builds keeps what it built
		b.env = with(nil, "DOCKER_HOST="+host, "HYBRID_BUILDER=docker")
		for name, args := range map[string][]string{
			"image": {"--output", "type=image,name=kept:image"}, "moby": {"--output", "type=moby,name=kept:moby"},
			"tags": {"--tag", "kept:tags", "--tag", "kept:more"}, "more": {"--tag", "kept:more", "--load"},
		} {
			m := b.makes(t, with(oneTarget, args...)...)
			if i := inspect(t, host, "kept:"+name); i.ID != m.Digest {
				t.Errorf("kept:%s: Docker has %s, want %s", name, i.ID, m.Digest)
			}
		}
		m := b.makes(t, with(twoTargets, "--tag", "kept:index", "--load")...)
		if i := inspect(t, host, "kept:index"); i.ID != m.Digest {
			t.Errorf("Docker has %s, want the index %s", i.ID, m.Digest)
		}
		b.makes(t, with(oneTarget, "--output", "type=cacheonly")...)
	})

	t.Run("old Docker", func(t *testing.T) {
		dir := t.TempDir()
		t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
		host := daemons.Docker(t, dir, "debian/usr/sbin/dockerd", daemons.Dir(t), nil).Address()
		b := b
		b.env = with(b.env, "DOCKER_HOST="+host)
		for _, builder := range []string{"embedded", "auto"} {
			b.env = append(b.env, "HYBRID_BUILDER="+builder)
			for name, args := range map[string][]string{"one": oneTarget, "packed": packed} {
				m := b.makes(t, with(args, "--load", "--tag", name, "--tag", "also/"+name+":2")...)
				for _, n := range []string{name, "also/" + name + ":2"} {
					if i := inspect(t, host, n); i.ID != m.Config {
						t.Errorf("%s: Docker has %s, want the config %s", n, i.ID, m.Config)
					}
				}
			}
			for _, load := range [][]string{nil, {"--load"}, {"--load=docker"}} {
				b.refuses(t, "has no containerd image store and cannot take an index of several targets: put them into one image with --pack",
					with(twoTargets, append(load, "--tag", "index")...)...)
			}
			b.refuses(t, "cannot load layers of compression=zstd", with(oneTarget, "--output", "type=docker,name=z,compression=zstd")...)
			b.refuses(t, "type=moby: only a Docker Engine that builds has that store", with(oneTarget, "--output", "type=moby,name=x")...)
		}
		wantPushedAndLoaded(t, b, func(i dockerImage, m made) bool { return i.ID == m.Config }, host)
	})
}

// wantPushedAndLoaded wants one build to leave its image in a registry and in Docker.
func wantPushedAndLoaded(t *testing.T, b builds, same func(dockerImage, made) bool, host string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	name := strings.TrimPrefix(server.URL, "http://") + "/team/hello"
	m := b.makes(t, with(oneTarget, "--tag", name+":1", "--push", "--load")...)
	response, err := server.Client().Get(server.URL + "/v2/team/hello/manifests/1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Docker-Content-Digest"); got != m.Digest {
		t.Errorf("the registry has %q, want %s", got, m.Digest)
	}
	if i := inspect(t, host, name+":1"); !same(i, m) {
		t.Errorf("Docker has %s, want %+v", i.ID, m)
	}
}

// wantKept wants an output that stays with the BuildKit to be there afterwards, or to
// be an error.
func wantKept(t *testing.T, b builds) {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { daemons.WantNothingLeft(t, dir) })
	m := b.makes(t, with(oneTarget, "--output", "type=docker,tar=false,name=x:1,dest="+dir+"/layout")...)
	if index := string(read(t, dir+"/layout/index.json")); !strings.Contains(index, m.Digest) || !strings.Contains(index, "docker.io/library/x:1") {
		t.Errorf("index %s, want %s", index, m.Digest)
	}
	b.makes(t, with(oneTarget, "--output", "type=local,dest="+dir+"/files")...)
	if err := os.WriteFile(dir+"/files/Dockerfile", []byte("FROM scratch\nCOPY *.elf /\nENTRYPOINT [\"hello_world.elf\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cached := b.makes(t, with(oneTarget, "--output", "type=cacheonly")...); cached.Digest != "" {
		t.Errorf("type=cacheonly made %+v", cached)
	}
	image := with(oneTarget, "--output", "type=image,name=kept")
	b.refuses(t, "type=image without push=true: the served BuildKit", image...)
	b.env = with([]string{"HYBRID_STATE=" + dir + "/state"}, b.env...)
	b.refuses(t, "type=image without push=true: the embedded BuildKit", image...)

	if err := os.Mkdir(dir+"/oci", 0o700); err != nil {
		t.Fatal(err)
	}
	b.env = []string{"HYBRID_BUILDER=" + daemons.Buildkitd(t, dir+"/oci")}
	b.refuses(t, "type=image without push=true: BuildKit ", image...)
	b.refuses(t, "type=moby: only a Docker Engine that builds has that store", with(oneTarget, "--output", "type=moby,name=x")...)

	// a Dockerfile without RUN: containerd's shim is not there
	address := daemons.Containerd(t, dir, "containerd", 3, "").Socket
	b.env = []string{"HYBRID_BUILDER=" + daemons.Buildkitd(t, dir, "--oci-worker=false", "--containerd-worker=true", "--containerd-worker-addr", address)}
	m, said, code := b.run(t, dir+"/files", image...)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	images := output(t, nil, filepath.Join(daemons.Dir(t), "ctr"), "--address", address, "--namespace", "buildkit", "images", "ls")
	if !strings.Contains(images, "docker.io/library/kept:latest") || !strings.Contains(images, m.Digest) {
		t.Errorf("containerd has\n%s\nwant %s", images, m.Digest)
	}
}
