package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// entry is one file of a layer; an empty typ is a regular file.
type entry struct {
	name, content string
	typ           byte
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.typ, Mode: 0o755}
		if e.typ == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.content))
		} else {
			h.Linkname = e.content
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.typ == 0 {
			if _, err := w.Write([]byte(e.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func digestOf(b []byte) Digest { return Digest(digest.FromBytes(b)) }

// writer writes a layout folder.
type writer struct {
	t   *testing.T
	dir string
}

func (w writer) put(mediaType string, b []byte) v1.Descriptor {
	w.t.Helper()
	d := digest.FromBytes(b)
	blobs := filepath.Join(w.dir, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(blobs, d.Encoded()), b, 0o644); err != nil {
		w.t.Fatal(err)
	}
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

func (w writer) json(mediaType string, v any) v1.Descriptor {
	w.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.put(mediaType, b)
}

func (w writer) image(config v1.ImageConfig, annotations map[string]string, layers ...[]byte) v1.Descriptor {
	w.t.Helper()
	m := v1.Manifest{Config: w.json(v1.MediaTypeImageConfig, v1.Image{Config: config}), Annotations: annotations}
	for _, l := range layers {
		m.Layers = append(m.Layers, w.put(v1.MediaTypeImageLayer, l))
	}
	return w.json(v1.MediaTypeImageManifest, m)
}

func (w writer) index(manifests ...v1.Descriptor) string {
	w.t.Helper()
	b, err := json.Marshal(v1.Index{Manifests: manifests})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "index.json"), b, 0o644); err != nil {
		w.t.Fatal(err)
	}
	return w.dir
}

func newWriter(t *testing.T) writer { return writer{t, t.TempDir()} }

// archiveOf makes a tar archive of a layout folder.
func archiveOf(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.tar")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// firmwareOf copies the entrypoint of the only image of a layout.
func firmwareOf(t *testing.T, name string) (string, error) {
	t.Helper()
	l, err := Open(name)
	if err != nil {
		return "", err
	}
	defer l.Close()
	images, err := l.Images()
	if err != nil {
		return "", err
	}
	entrypoint, err := images[0].Entrypoint()
	if err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := images[0].CopyFile(f, entrypoint, 1000); err != nil {
		return "", err
	}
	b, err := os.ReadFile(f.Name())
	return string(b), err
}

func TestFirmwareOfLayout(t *testing.T) {
	run := v1.ImageConfig{Entrypoint: []string{"hello.elf"}}
	for _, c := range []struct {
		name   string
		config v1.ImageConfig
		layers [][]byte
		want   string
		err    string
	}{
		{"plain", run, [][]byte{tarOf(t, entry{name: "hello.elf", content: "firmware"})}, "firmware", ""},
		{"gzip", run, [][]byte{gzipped(t, tarOf(t, entry{name: "./hello.elf", content: "firmware"}))}, "firmware", ""},
		{"absolute entrypoint", v1.ImageConfig{Entrypoint: []string{"/fw/../hello.elf"}}, [][]byte{tarOf(t, entry{name: "/hello.elf", content: "firmware"})}, "firmware", ""},
		{"working folder and cmd", v1.ImageConfig{WorkingDir: "/fw", Cmd: []string{"a.elf"}}, [][]byte{tarOf(t, entry{name: "fw/a.elf", content: "firmware"})}, "firmware", ""},
		{"entrypoint climbs out", v1.ImageConfig{Entrypoint: []string{"../../hello.elf"}}, [][]byte{tarOf(t, entry{name: "hello.elf", content: "firmware"})}, "firmware", ""},
		{"upper layer wins", run, [][]byte{tarOf(t, entry{name: "hello.elf", content: "old"}), tarOf(t, entry{name: "hello.elf", content: "new"})}, "new", ""},
		{"lower layer", run, [][]byte{tarOf(t, entry{name: "hello.elf", content: "old"}), tarOf(t, entry{name: "readme", content: "x"})}, "old", ""},
		{"last entry wins", run, [][]byte{tarOf(t, entry{name: "hello.elf", content: "longer first"}, entry{name: "hello.elf", content: "second"})}, "second", ""},
		{"whiteout", run, [][]byte{tarOf(t, entry{name: "hello.elf", content: "old"}), tarOf(t, entry{name: ".wh.hello.elf"})}, "", "holds no /hello.elf"},
		{"opaque", run, [][]byte{tarOf(t, entry{name: "hello.elf", content: "old"}), tarOf(t, entry{name: ".wh..wh..opq"})}, "", "holds no /hello.elf"},
		{
			"folder removed",
			v1.ImageConfig{Entrypoint: []string{"/a/b/hello.elf"}},
			[][]byte{tarOf(t, entry{name: "a/b/hello.elf", content: "old"}), tarOf(t, entry{name: "a/.wh.b"})},
			"", "holds no /a/b/hello.elf",
		},
		{"missing", run, [][]byte{tarOf(t)}, "", "holds no /hello.elf"},
		{"no entrypoint", v1.ImageConfig{}, nil, "", "no ENTRYPOINT"},
		{"too large", run, [][]byte{tarOf(t, entry{name: "hello.elf", content: strings.Repeat("x", 1001)})}, "", "the limit for firmware is 1000"},
		{"zstd", run, [][]byte{zstdOf(t, tarOf(t, entry{name: "hello.elf", content: "firmware"}))}, "firmware", ""},
		{"zstd:chunked", run, [][]byte{slices.Concat(skippable(9), zstdOf(t, tarOf(t, entry{name: "hello.elf", content: "firmware"})), skippable(64))}, "firmware", ""},
		{"each its own", run, [][]byte{gzipped(t, tarOf(t, entry{name: "hello.elf", content: "old"})), zstdOf(t, tarOf(t, entry{name: "hello.elf", content: "new"})), tarOf(t)}, "new", ""},
		{"zstd cut short", run, [][]byte{{0x28, 0xb5, 0x2f, 0xfd, 0}}, "", "layer 1 of 1: not a tar archive: zstd"},
		{"bzip2", run, [][]byte{[]byte("BZh91AY&SY")}, "", "compressed with bzip2, want gzip, zstd or neither"},
		{"not a tar", run, [][]byte{bytes.Repeat([]byte("no tar "), 200)}, "", "not a tar archive"},
		{"cut short", run, [][]byte{tarOf(t, entry{name: "hello.elf", content: strings.Repeat("x", 900)})[:1000]}, "", "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWriter(t)
			dir := w.index(w.image(c.config, nil, c.layers...))
			for _, name := range []string{dir, archiveOf(t, dir)} {
				got, err := firmwareOf(t, name)
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("error %v, want %q", err, c.err)
					}
				} else if err != nil || got != c.want {
					t.Errorf("got %q, %v, want %q", got, err, c.want)
				}
			}
		})
	}
}

func TestImages(t *testing.T) {
	w := newWriter(t)
	config := v1.ImageConfig{Labels: map[string]string{"board": "imx8m-mini"}, Env: []string{"HYBRID_MCU=cortex-m4"}}
	good := w.image(config, map[string]string{"board": "imx8m-mini", "mcu": "cortex-m4"})
	good.Annotations = map[string]string{"io.containerd.image.name": "docker.io/library/hello:latest"}
	bad := w.image(config, map[string]string{"board": "imx93-evk"})
	attestation := w.image(config, nil)
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	nested := w.json(v1.MediaTypeImageIndex, v1.Index{Manifests: []v1.Descriptor{bad, attestation}})
	l, err := Open(w.index(good, nested))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	images, err := l.Images()
	if err != nil || len(images) != 2 {
		t.Fatalf("images %v, %v", images, err)
	}
	target, err := images[0].Target()
	if want := (Target{Board: "imx8m-mini", MCU: "cortex-m4"}); err != nil || target != want || images[0].Name != "docker.io/library/hello:latest" {
		t.Errorf("target %v, %v of %s", target, err, images[0].Name)
	}
	var conflict *ConflictError
	if _, err := images[1].Target(); !errors.As(err, &conflict) {
		t.Errorf("contradiction not seen: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	damaged := newWriter(t)
	d := damaged.image(v1.ImageConfig{Entrypoint: []string{"hello.elf"}}, nil)
	damaged.index(d)
	if err := os.WriteFile(filepath.Join(damaged.dir, "blobs/sha256", d.Digest.Encoded()), []byte(`{"schemaVersion":2}`), 0o644); err != nil {
		t.Fatal(err)
	}
	climbing := newWriter(t)
	climbing.index(v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: "sha256:../../../../etc/passwd"})
	linked := newWriter(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(linked.dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	piped := newWriter(t)
	if err := syscall.Mkfifo(filepath.Join(piped.dir, "index.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	looped := newWriter(t)
	deep := looped.image(v1.ImageConfig{}, nil)
	for range 6 {
		deep = looped.json(v1.MediaTypeImageIndex, v1.Index{Manifests: []v1.Descriptor{deep}})
	}
	looped.index(deep)
	text := filepath.Join(t.TempDir(), "readme")
	if err := os.WriteFile(text, []byte(strings.Repeat("hello world ", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(t.TempDir(), "image.tar.gz")
	if err := os.WriteFile(packed, gzipped(t, tarOf(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"missing":    {filepath.Join(t.TempDir(), "nothing"), "no such file"},
		"empty":      {t.TempDir(), "holds no index.json"},
		"no images":  {newWriter(t).index(), "lists no image"},
		"device":     {"/dev/null", "neither a folder nor an archive"},
		"text":       {text, "neither an OCI layout nor an archive"},
		"compressed": {packed, "gunzip it first"},
		"damaged":    {damaged.dir, "another digest"},
		"climbing":   {climbing.dir, "digest"},
		"link":       {linked.dir, "escapes"},
		"nested":     {looped.dir, "nested deeper"},
		"fifo":       {piped.dir, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := firmwareOf(t, c.path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestDamagedLayer(t *testing.T) {
	w := newWriter(t)
	layer := tarOf(t, entry{name: "hello.elf", content: "firmware"})
	w.index(w.image(v1.ImageConfig{Entrypoint: []string{"hello.elf"}}, nil, layer))
	blob := filepath.Join(w.dir, "blobs/sha256", digest.FromBytes(layer).Encoded())
	if err := os.WriteFile(blob, bytes.Replace(layer, []byte("firmware"), []byte("malwares"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := firmwareOf(t, w.dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %q, %v", got, err)
	}
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if _, err := firmwareOf(t, w.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing layer: %v", err)
	}
}
