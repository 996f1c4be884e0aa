//go:build engine

// The SDKs' Dockerfiles, with trees that are shaped like the SDKs: see testdata.
package builder

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/sdk"
)

// tree is a folder shaped like the SDK name; "" if it is part of hybrid.
func tree(t *testing.T, name string) string {
	t.Helper()
	if name == sdk.BareMetal {
		return ""
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	if name == sdk.Zephyr {
		if err := os.CopyFS(filepath.Join(dir, ".python"), os.DirFS("testdata/west/src")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// boardOf is a board that the SDK knows.
var boardOf = map[string]string{
	sdk.BareMetal: "qemu-virt", sdk.MCUXpresso: "imx8m-mini", sdk.STM32Cube: "stm32mp157c-dk2", sdk.Zephyr: "imx8m-mini",
}

// newProject writes what hybrid init writes.
func newProject(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blink")
	p, err := sdk.NewProject(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A new project of each SDK builds as it stands, without saying which SDK it is for,
// and gives the same image a second time.
func TestNewProjects(t *testing.T) {
	for _, name := range sdk.Names() {
		t.Run(name, func(t *testing.T) {
			var digests []string
			for range 2 {
				file := filepath.Join(t.TempDir(), "a.tar")
				r := Request{
					Path: newProject(t, name), Target: image.Target{Board: boardOf[name]}, NoCacheFilter: []string{"build"},
					Outputs: []string{"type=oci,dest=" + file},
				}
				if dir := tree(t, name); dir != "" {
					r.Contexts = []string{"sdk=" + dir}
				}
				result, said, err := run(t, r)
				if err != nil {
					t.Fatalf("%v\n%s", err, said)
				}
				checkImage(t, only(t, file), image.Target{Board: boardOf[name], MCU: "cortex-m4"}, "/blink.elf")
				digests = append(digests, result.Response["containerimage.digest"])
			}
			if digests[0] == "" || digests[0] != digests[1] {
				t.Errorf("digests %v", digests)
			}
		})
	}
}
