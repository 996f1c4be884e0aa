package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// registryAt is a registry on a loopback address.
func registryAt(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func ref(t *testing.T, s string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// command puts a command into PATH that prints file where its arguments are args, what
// others print where they are those, and else fails with a message.
func command(t *testing.T, name, args, file string, others ...[2]string) {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = %q ] && exec cat %q\n", args, file)
	for _, o := range others {
		script += fmt.Sprintf("[ \"$*\" = %q ] && exec echo %q\n", o[0], o[1])
	}
	script += "echo first line >&2\necho no such image: $* >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// TestSourcesAgree: wherever an image is, the report is the same.
func TestSourcesAgree(t *testing.T) {
	img := helloImage(t)
	dir := layoutOf(t, img)
	archive := archiveOf(t, dir)
	host := registryAt(t)
	if err := remote.Write(ref(t, host+"/hello:1"), img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	command(t, "docker", "save hello", archive)
	command(t, "ctr", "-n default images export --local --all-platforms - docker.io/library/hello:latest", archive,
		[2]string{"-n default images ls -q", "docker.io/library/hello:latest"})
	command(t, "podman", "save --quiet --format oci-archive hello", archive)
	want := ""
	for _, c := range []struct {
		name string
		kind Kind
	}{
		{dir, KindLayout},
		{"oci-layout://" + dir, KindLayout},
		{dir + ":a", KindLayout},
		{dir + "@" + digest.String(), KindLayout},
		{dir + ":a@" + digest.String(), KindLayout},
		{archive, KindArchive},
		{"oci-layout://" + archive + ":a", KindArchive},
		{host + "/hello:1", KindRegistry},
		{"docker-image://" + host + "/hello@" + digest.String(), KindRegistry},
		{"docker:hello", KindDocker},
		{"containerd:hello", KindContainerd},
		{"podman:hello", KindPodman},
	} {
		r, err := Open(t.Context(), c.name, Target{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r.Source != c.name || r.Kind != c.kind {
			t.Errorf("%s is a %s called %s", c.name, r.Kind, r.Source)
		}
		b, err := json.Marshal(r.Images)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = string(b)
		}
		if string(b) != want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, b, want)
		}
	}
	if !strings.Contains(want, `"code":960`) || !strings.Contains(want, digest.String()) {
		t.Errorf("the reports say nothing: %s", want)
	}
}

// TestNameAlone: Docker first, then the registry.
func TestNameAlone(t *testing.T) {
	img := helloImage(t)
	host := registryAt(t)
	if err := remote.Write(ref(t, host+"/hello:latest"), img); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir()) // no docker
	if r, err := Open(t.Context(), host+"/hello", Target{}); err != nil || r.Kind != KindRegistry {
		t.Errorf("%+v, %v", r, err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in image) exit 0;; save) exec /bin/cat %q;; esac\n", archiveOf(t, layoutOf(t, img)))
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if r, err := Open(t.Context(), host+"/hello", Target{}); err != nil || r.Kind != KindDocker {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestOldDockerArchive reads what docker save of Docker 20.10 writes.
func TestOldDockerArchive(t *testing.T) {
	first := helloImage(t)
	second := imageOf(t, "imx8m-mini", "cortex-m4", "other.elf", layerOf(t, "other.elf", string(hello().Bytes())))
	path := filepath.Join(t.TempDir(), "saved.tar")
	one, two := ref(t, "hello:1").(name.Tag), ref(t, "hello:2").(name.Tag)
	if err := tarball.MultiWriteToFile(path, map[name.Tag]v1.Image{one: first, two: second}); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), path, Target{})
	if err != nil || len(r.Images) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	config, err := first.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := first.Layers()
	if err != nil {
		t.Fatal(err)
	}
	diffID, err := layers[0].DiffID()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, i := range r.Images {
		if i.Entrypoint == "/hello.elf" {
			found = i.Name == "hello:1" && i.ConfigDigest == config.String() && i.Digest == "" && len(i.Firmware) == 1 &&
				i.Layers[0].Digest == diffID.String() && i.Layers[0].Size == i.Layers[0].Unpacked
		}
	}
	if !found {
		t.Errorf("images %+v", r.Images)
	}
}

// TestZstd: layers of any compression are shown.
func TestZstd(t *testing.T) {
	layer, err := layerOf(t, "hello.elf", string(hello().Bytes())).Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, layer); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	img := imageOf(t, "imx8m-mini", "", "hello.elf", static.NewLayer(packed.Bytes(), types.OCILayerZStd))
	r := open(t, layoutOf(t, img), Target{})
	if i := r.Images[0]; len(i.Firmware) != 1 || i.Layers[0].Unpacked <= i.Layers[0].Size || i.Problem != "" {
		t.Errorf("image %+v", i)
	}
}

// TestSeveralCores shows all images of an index, attestations excepted.
func TestSeveralCores(t *testing.T) {
	m4 := helloImage(t)
	other := imageOf(t, "qemu-virt", "cortex-m4", "hello.elf", layerOf(t, "hello.elf", string(hello().Bytes())))
	host := registryAt(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: m4}, mutate.IndexAddendum{Add: other})
	if err := remote.WriteIndex(ref(t, host+"/fleet:1"), index); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), host+"/fleet:1", Target{})
	if err != nil || len(r.Images) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.Images[0].Target.name() != "imx8m-mini/cortex-m4" || r.Images[1].Target.name() != "qemu-virt/cortex-m4" {
		t.Errorf("targets %v, %v", r.Images[0].Target, r.Images[1].Target)
	}
	if codes := r.Images[1].Firmware[0].Findings; len(codes) == 0 || codes[0].Code != "HB004" {
		t.Errorf("the firmware for another board: %+v", codes)
	}
}

func TestOpenRefuses(t *testing.T) {
	host := registryAt(t)
	elf := write(t, "a.elf", hello().Bytes())
	command(t, "docker", "save other", "/dev/null")
	command(t, "podman", "save other", "/dev/null")
	for name, want := range map[string]string{
		"./nothing.elf":                   "./nothing.elf: no such file or folder",
		"nothing.tar":                     "nothing.tar: no such file or folder",
		"oci-layout://nothing":            "nothing: no such file or folder",
		"oci-layout://" + elf:             "is an ELF file, not an OCI layout",
		elf + ":tag":                      "is an ELF file, it has no tag or digest",
		"":                                "want a file, a folder or the name",
		"oci-layout://":                   "want a file, a folder or the name",
		"docker:":                         "want the name of an image",
		"docker:hello":                    "docker save hello: no such image: save hello",
		"podman:hello":                    "podman save --quiet --format oci-archive hello: no such image: save",
		host + "/nothing:1":               "the registry says 404 NAME_UNKNOWN",
		"Not A Name":                      "Not A Name is no file, and as the name of an image",
		t.TempDir():                       "holds no index.json",
		write(t, "x", []byte("y")):        "neither an OCI layout nor an archive",
		layoutOf(t, helloImage(t)) + ":b": `has no tag "b"`,
		layoutOf(t, helloImage(t)) + "@sha256:1234": "digest",
	} {
		if r, err := Open(t.Context(), name, Target{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %+v, error %v, want %q", name, r, err, want)
		}
	}
	if _, err := Open(t.Context(), elf, Target{Board: "imx8m-mnii"}); err == nil || !strings.Contains(err.Error(), "did you mean imx8m-mini") {
		t.Errorf("unknown board: %v", err)
	}
}
