//go:build engine

package engines

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// picture is an image of the tests, as an archive and in a registry.
type picture struct {
	name    string // it has with an engine
	archive string
	ref     string // to pull it by
}

// pictures are the images of all tests, which are made once, in a folder of TestMain's.
var pictures struct {
	sync.Once
	made []picture
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hybrid-images-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	for _, i := range []string{imageHello, imageOther, imageLinux, imagePause} {
		pictures.made = append(pictures.made, picture{i, filepath.Join(dir, strings.ReplaceAll(i, ":", "-")+".tar"), strings.TrimPrefix(server.URL, "http://") + "/" + i})
	}
	return m.Run()
}

// images are the images of the tests: what is firmware is made with hybrid build.
func images(t *testing.T) []picture {
	t.Helper()
	pictures.Do(func() {
		for _, p := range pictures.made {
			switch p.name {
			case imageHello:
				hybridBuild(t, p, example, "qemu-virt", "linux/"+runtime.GOARCH)
			case imageOther:
				hybridBuild(t, p, example, "imx8m-mini", "linux/"+runtime.GOARCH)
			case imageLinux, imagePause:
				busybox, err := os.ReadFile(filepath.Join(daemons.Dir(t), "runc/bin/busybox"))
				if err != nil {
					t.Fatal(err)
				}
				fixture.Archive(t, p.archive, "docker.io/library/"+p.name, fixture.Content{
					Files: map[string][]byte{"bin/busybox": busybox}, Entrypoint: []string{"/bin/busybox", "sleep", "1000"},
				})
			}
			push(t, p)
		}
	})
	return pictures.made
}

// example is the project of most images.
const example = "../../examples/hello_world"

// hybridBuild makes an image of a project for a board, with Linux for platform beside
// its core.
func hybridBuild(t *testing.T, p picture, project, board, platform string) {
	t.Helper()
	base := os.Getenv("HYBRID_SDK_BASE")
	if base == "" {
		t.Fatal("HYBRID_SDK_BASE must name the OCI layout that hybrid sdk base makes")
	}
	cmd := exec.Command("../../bin/hybrid", "build", "--board", board, "--platform", platform, "--progress", "plain",
		"--build-context", "toolchain=oci-layout://"+base, "--output", "type=docker,name=docker.io/library/"+p.name+",dest="+p.archive,
		project)
	cmd.Env = append(os.Environ(), "HYBRID_BUILDER=embedded", "HYBRID_STATE="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// push puts an archive into the registry.
func push(t *testing.T, p picture) {
	t.Helper()
	dir := t.TempDir()
	untar(t, p.archive, dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(p.ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
}

// untar unpacks an archive of ours.
func untar(t *testing.T, archive, dir string) {
	t.Helper()
	content, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
