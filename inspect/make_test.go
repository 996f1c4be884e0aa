package inspect

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

const tcml, tcmu = 0x1FFE0000, 0x20000000

// hello is firmware for the i.MX8M Mini with everything that a report shows: initialised
// data that waits in TCML, an rpmsg device, debug information.
func hello() elftest.File {
	vectors := make([]byte, 0x400)
	binary.LittleEndian.PutUint32(vectors, 0x20020000)
	binary.LittleEndian.PutUint32(vectors[4:], tcml+0x41)
	table := elftest.Table(
		elftest.Carveout(0xB8000000, 0x8000, "vdev0vring0"), elftest.DevMem(0x30A60000, 0x1000, "uart4"),
		elftest.Vdev(7, 2, 256), elftest.Trace(tcmu+0x200, 0x1000, "console"))
	alloc, exec, write := elf.SHF_ALLOC, elf.SHF_EXECINSTR, elf.SHF_WRITE
	section := func(name string, flags elf.SectionFlag, addr, size uint64) elftest.Section {
		return elftest.Section{Name: name, Type: elf.SHT_PROGBITS, Flags: flags, Addr: addr, Size: size}
	}
	return elftest.File{
		Segments: []elftest.Segment{
			{Addr: tcml, Data: vectors},
			{Addr: tcml + 0x400, Data: make([]byte, 0x40)},
			{Addr: tcmu, Data: table},
			{Addr: tcmu + 0x200, MemSize: 0x8000},
		},
		Entry: tcml + 0x41, Table: table, TableAddr: tcmu,
		Sections: []elftest.Section{
			section(".vectors", alloc, tcml, 0x40), section(".text", alloc|exec, tcml+0x40, 0x3c0),
			section(".data", alloc|write, tcmu+0x8200, 0x40),
			{Name: ".bss", Type: elf.SHT_NOBITS, Flags: alloc | write, Addr: tcmu + 0x200, Size: 0x8000},
			{Name: ".ARM.attributes", Type: 0x70000003, Data: elftest.Attributes("7E-M", 6, 13, 7, 'M', 10, 6, 27, 1, 28, 1)},
			section(".debug_info", 0, 0, 0x300),
		},
	}
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// layerOf is a layer with files, pairs of a name and its content.
func layerOf(t *testing.T, files ...string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o755, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(b.Bytes(), types.OCIUncompressedLayer) // no compressor's version in the golden files
}

// imageOf is an image as hybrid build makes it; board and mcu are its labels.
func imageOf(t *testing.T, board, mcu, entrypoint string, layers ...v1.Layer) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		t.Fatal(err)
	}
	config := v1.Config{Env: []string{"HYBRID_BOARD=" + board, "HYBRID_MCU=" + mcu}, Labels: map[string]string{"board": board, "mcu": mcu}}
	if board == "" {
		config = v1.Config{}
	}
	if entrypoint != "" {
		config.Entrypoint = []string{entrypoint}
	}
	if img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "arm64", Config: config, RootFS: rootFS(t, img)}); err != nil {
		t.Fatal(err)
	}
	if board == "" {
		return img
	}
	return mutate.Annotations(img, map[string]string{"board": board, "mcu": mcu}).(v1.Image)
}

func rootFS(t *testing.T, img v1.Image) v1.RootFS {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config.RootFS
}

func helloImage(t *testing.T) v1.Image {
	return imageOf(t, "imx8m-mini", "cortex-m4", "hello.elf", layerOf(t, "hello.elf", string(hello().Bytes())))
}

// layoutOf writes a layout folder; each image is tagged, from tag on.
func layoutOf(t *testing.T, images ...v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for i, img := range images {
		if err := l.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": string(rune('a' + i))})); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// archiveOf packs a layout folder.
func archiveOf(t *testing.T, dir string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, "image.tar", b.Bytes())
}
