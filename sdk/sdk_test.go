package sdk

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestEmbeddedSources(t *testing.T) {
	tree, err := Sources(BareMetal)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	if err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"baremetal.mk", "include/hybrid.h", "boards/imx8m-mini/link.ld", "boards/qemu-virt/link.ld"} {
		if !slices.Contains(files, want) {
			t.Errorf("%s is not embedded", want)
		}
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".o") || strings.HasSuffix(f, ".elf") {
			t.Errorf("%s is embedded", f)
		}
	}
	for _, name := range Names() {
		if tree, err := Sources(name); err != nil || (tree != nil) != (name == BareMetal) {
			t.Errorf("%s: %v, %v", name, tree, err)
		}
	}
}

func TestSourcesUnknown(t *testing.T) {
	for _, name := range []string{"rtos", "", "..", "baremetal/src"} {
		if _, err := Sources(name); err == nil || !strings.Contains(err.Error(), "there are: baremetal, mcuxpresso, stm32cube, zephyr") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
