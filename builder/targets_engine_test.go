//go:build engine

package builder

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/image"
)

var twoTargets = []string{"imx8m-mini/cortex-m4", "qemu-virt"}

// imagesOf are the images of a layout.
func imagesOf(t *testing.T, name string) []*image.Image {
	t.Helper()
	l, err := image.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	images, err := l.Images()
	if err != nil {
		t.Fatal(err)
	}
	return images
}

// An index holds, to the byte, the images that builds for one target each make, in
// every kind of output.
func TestIndex(t *testing.T) {
	var want []string
	for _, target := range twoTargets {
		result, _, err := run(t, Request{Path: hello, Targets: []string{target}, Outputs: []string{"type=oci,dest=" + t.TempDir() + "/a.tar"}})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, result.Response["containerimage.digest"])
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	dir := t.TempDir()
	result, said, err := run(t, Request{
		Path: hello, Targets: twoTargets, Tags: []string{host + "/hello:1", host + "/hello:2"}, Push: true,
		Annotations: []string{"index:fleet=all", "who=me"},
		Outputs: []string{
			"type=oci,dest=" + dir + "/oci.tar", "type=docker,dest=" + dir + "/docker.tar", "type=oci,tar=false,dest=" + dir + "/layout",
			"type=local,dest=" + dir + "/files", "type=tar,dest=" + dir + "/files.tar",
		},
		MetadataFile: dir + "/metadata.json",
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if len(result.Targets) != 2 || result.Targets[1].String() != "qemu-virt/cortex-m4" {
		t.Errorf("targets %v", result.Targets)
	}
	digest := result.Response["containerimage.digest"]
	for _, name := range []string{"oci.tar", "docker.tar", "layout"} {
		images := imagesOf(t, filepath.Join(dir, name))
		if name == "oci.tar" && len(images) == 4 {
			images = images[:2] // the archive names the index twice, once a tag
		}
		if len(images)%2 != 0 || len(images) == 0 {
			t.Fatalf("%s holds %d images", name, len(images))
		}
		for i, target := range twoTargets {
			board, _, _ := strings.Cut(target, "/")
			checkImage(t, images[i], image.Target{Board: board, MCU: "cortex-m4"}, "/hello_world.elf")
			if images[i].Manifest.Annotations["who"] != "me" {
				t.Errorf("%s: annotations %v", name, images[i].Manifest.Annotations)
			}
		}
	}
	for _, tag := range []string{"1", "2"} {
		response, err := server.Client().Get(server.URL + "/v2/hello/manifests/" + tag)
		if err != nil {
			t.Fatal(err)
		}
		var index v1.Index
		err = json.NewDecoder(response.Body).Decode(&index)
		response.Body.Close()
		if err != nil || len(index.Manifests) != 2 || index.Annotations["fleet"] != "all" {
			t.Fatalf("the registry has %+v, %v", index, err)
		}
		if got := response.Header.Get("Docker-Content-Digest"); got != digest {
			t.Errorf("the registry has %s, the result says %s", got, digest)
		}
		for i, m := range index.Manifests {
			board, _, _ := strings.Cut(twoTargets[i], "/")
			if m.Annotations["board"] != board || m.Annotations["mcu"] != "cortex-m4" || m.Platform == nil || platforms.Format(*m.Platform) != []string{"linux/arm64", "linux/arm/v7"}[i] {
				t.Errorf("descriptor %+v", m)
			}
		}
	}
	const tree = "imx8m-mini/ imx8m-mini/cortex-m4/ imx8m-mini/cortex-m4/hello_world.elf qemu-virt/ qemu-virt/cortex-m4/ qemu-virt/cortex-m4/hello_world.elf"
	if got := treeOf(t, dir+"/files"); got != tree {
		t.Errorf("files %s", got)
	}
	if got := tarNames(t, dir+"/files.tar"); got != tree {
		t.Errorf("tar of files %s", got)
	}
	if got := names(t, dir); got != "docker.tar files files.tar layout metadata.json oci.tar" {
		t.Errorf("left behind: %s", got)
	}

	// without annotations that differ, the images are those of the single builds
	result, _, err = run(t, Request{Path: hello, Targets: twoTargets, Outputs: []string{"type=oci,dest=" + dir + "/plain.tar"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, img := range imagesOf(t, dir+"/plain.tar") {
		if string(img.Digest) != want[i] {
			t.Errorf("%s: digest %s, built alone %s", twoTargets[i], img.Digest, want[i])
		}
	}
	again, _, err := run(t, Request{Path: hello, Targets: twoTargets, Outputs: []string{"type=oci,dest=" + dir + "/again.tar"}, NoCache: true})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := result.Response["containerimage.digest"], again.Response["containerimage.digest"]; a != b || a == "" {
		t.Errorf("index %s, and built again %s", a, b)
	}
}

func tarNames(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return strings.Join(all, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h.Name)
	}
}

// A packed image is one image with one layer that holds all the firmware, each
// verified against its own core.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	_, said, err := run(t, Request{
		Path: hello, Targets: twoTargets, Pack: true, Tags: []string{"fleet"},
		Outputs: []string{"type=oci,dest=" + dir + "/a.tar", "type=docker,dest=" + dir + "/b.tar"},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, name := range []string{"/a.tar", "/b.tar"} {
		i := only(t, dir+name)
		const list = "imx8m-mini/cortex-m4,qemu-virt/cortex-m4"
		if i.Manifest.Annotations["targets"] != list || i.Config.Config.Labels["targets"] != list || i.Manifest.Annotations["board"] != "" {
			t.Errorf("annotations %v, labels %v", i.Manifest.Annotations, i.Config.Config.Labels)
		}
		programs, err := i.Programs()
		if err != nil || len(programs) != 2 || len(i.Manifest.Layers) != 1 {
			t.Fatalf("programs %v, %v in %d layers", programs, err, len(i.Manifest.Layers))
		}
		for _, p := range programs {
			f, err := os.Create(filepath.Join(t.TempDir(), "elf"))
			if err != nil {
				t.Fatal(err)
			}
			if err := i.CopyFile(f, p.Path, 1<<20); err != nil {
				t.Errorf("%s: %v", p.Path, err)
			}
			alone, _, err := run(t, Request{Path: hello, Target: p.Target, Outputs: []string{"type=local,dest=" + dir + "/alone"}})
			if err != nil {
				t.Fatal(err, alone)
			}
			sameFile(t, f.Name(), dir+"/alone/hello_world.elf")
			f.Close()
		}
	}
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(x) == 0 || !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", a, b)
	}
}

func TestTargetsFail(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, want string
		r          Request
	}{
		{"one does not fit", "imx93-evk/cortex-m33: ", Request{Targets: []string{"imx8m-mini", "imx93-evk"}}},
		{"one does not fit, packed", "imx93-evk/cortex-m33: ", Request{Targets: []string{"imx8m-mini", "imx93-evk"}, Pack: true}},
		{"compression", "must agree on annotations and compression", Request{Targets: twoTargets, Outputs: []string{"type=oci,compression=zstd,dest=" + dir + "/b"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Path, c.r.Outputs = hello, append(c.r.Outputs, "type=oci,dest="+dir+"/a.tar", "type=local,dest="+dir+"/files")
			_, _, err := run(t, c.r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if got := names(t, dir); got != "" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

// treeOf lists a folder as a tar of it would.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if d.IsDir() {
			name += "/"
		}
		all = append(all, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}
