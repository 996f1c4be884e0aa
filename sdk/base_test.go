package sdk

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// rootFS is a small root file system as two runs of mmdebstrap could give it.
func rootFS(t *testing.T, mtime time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name, text string
		kind       byte
	}{
		{"./", "", tar.TypeDir},
		{"./etc/", "", tar.TypeDir},
		{"./etc/machine-id", mtime.String(), tar.TypeReg},
		{"./etc/hostname", mtime.String(), tar.TypeReg},
		{"./usr/bin/gcc", strings.Repeat("gcc", 10000), tar.TypeReg},
		{"./usr/bin/cc", "", tar.TypeSymlink},
		{"./var/log/", "", tar.TypeDir},
		{"./var/log/dpkg.log", mtime.String(), tar.TypeReg},
		{"./var/cache/ldconfig/aux-cache", mtime.String(), tar.TypeReg},
	} {
		h := &tar.Header{Name: f.name, Typeflag: f.kind, Mode: 0o755, Size: int64(len(f.text)), ModTime: mtime, Uname: "u" + mtime.String()}
		if f.kind == tar.TypeSymlink {
			h.Linkname = "gcc"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMake(t *testing.T) {
	dir := t.TempDir()
	var digests []string
	for i, mtime := range []time.Time{time.Unix(1e9, 0), time.Unix(17e8, 5)} {
		file := filepath.Join(dir, "rootfs.tar")
		if err := os.WriteFile(file, rootFS(t, mtime), 0o644); err != nil {
			t.Fatal(err)
		}
		// the second run replaces the layout of the first
		d, err := (&Base{RootFS: file}).Make(t.Context(), filepath.Join(dir, "sub", "layout"))
		if err != nil {
			t.Fatal(i, err)
		}
		digests = append(digests, d.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("digests differ: %v", digests)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "sub")); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	files := readLayout(t, filepath.Join(dir, "sub", "layout"), digests[0])
	if want := []string{"./", "./etc/", "./etc/machine-id", "./usr/bin/gcc", "./usr/bin/cc", "./var/log/"}; !slices.Equal(files, want) {
		t.Errorf("the layer holds %v, want %v", files, want)
	}
}

// readLayout reads the image as any other program would, and lists its layer.
func readLayout(t *testing.T, layout, digest string) []string {
	t.Helper()
	read := func(v any, name string) {
		text, err := os.ReadFile(filepath.Join(layout, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, v); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(d v1.Descriptor) string {
		if err := d.Digest.Validate(); err != nil {
			t.Fatal(err)
		}
		f, err := os.ReadFile(filepath.Join(layout, "blobs", "sha256", d.Digest.Encoded()))
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(f)) != d.Size || d.Digest.Algorithm().FromBytes(f) != d.Digest {
			t.Errorf("%s has %d bytes and another digest", d.Digest, len(f))
		}
		return filepath.Join("blobs", "sha256", d.Digest.Encoded())
	}
	var version v1.ImageLayout
	var index v1.Index
	var manifest v1.Manifest
	var config v1.Image
	read(&version, "oci-layout")
	read(&index, "index.json")
	if version.Version != v1.ImageLayoutVersion || len(index.Manifests) != 1 || index.Manifests[0].Digest.String() != digest {
		t.Fatalf("layout %v, index %v", version, index)
	}
	read(&manifest, blob(index.Manifests[0]))
	read(&config, blob(manifest.Config))
	f, err := os.Open(filepath.Join(layout, blob(manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	layer, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if d := config.RootFS.DiffIDs[0]; d.Algorithm().FromBytes(layer) != d {
		t.Error("the layer is not the one that the config names")
	}
	var files []string
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch) || h.Uname != "" {
			t.Errorf("%s has time %v and owner %q", h.Name, h.ModTime, h.Uname)
		}
		files = append(files, h.Name)
	}
}

func TestMakeRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := write("good.tar", string(rootFS(t, epoch)))
	for _, c := range []struct{ name, rootfs, dest, want string }{
		{"not there", "/nothing.tar", "a", "no such file"},
		{"no tar", write("text", strings.Repeat("no tar at all\n", 100)), "a", "root file system: archive/tar: invalid tar header"},
		{"empty", write("empty", ""), "a", "the tar is empty"},
		{"cut short", write("cut", string(rootFS(t, epoch)[:10000])), "a", "unexpected EOF"},
		{"a folder with something else", good, filepath.Dir(write("precious/file", "x")), "is there and is no OCI layout"},
		{"a file", good, write("file", "x"), "is there and is no OCI layout"},
	} {
		dest := c.dest
		if !filepath.IsAbs(dest) {
			dest = filepath.Join(dir, dest)
		}
		if _, err := (&Base{RootFS: c.rootfs}).Make(t.Context(), dest); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "precious/file")); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMakeCancelled(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rootfs.tar")
	if err := os.WriteFile(file, rootFS(t, epoch), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&Base{RootFS: file}).Make(ctx, filepath.Join(dir, "layout")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// fakeBootstrap puts an mmdebstrap of this script in front of PATH, and no apt-get.
func fakeBootstrap(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"mmdebstrap": script, "apt-get": "exit 1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestFromDebian(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rootfs.tar")
	if err := os.WriteFile(file, rootFS(t, epoch), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROOTFS", file)
	t.Setenv("ARGS", filepath.Join(dir, "args"))
	fakeBootstrap(t, `echo "$@" >"$ARGS"; echo "I: working" >&2; cat "$ROOTFS"; head -c 100000 /dev/zero`)
	var progress bytes.Buffer
	fromDebian, err := (&Base{Unpinned: true, Progress: &progress}).Make(t.Context(), filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	fromFile, err := (&Base{RootFS: file}).Make(t.Context(), filepath.Join(dir, "b"))
	if err != nil || fromFile != fromDebian {
		t.Errorf("%s from a file, %v, %s from Debian", fromFile, err, fromDebian)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil || !strings.Contains(string(args), "gcc-arm-none-eabi,libnewlib-arm-none-eabi,make") || !strings.HasSuffix(string(args), "bookworm -\n") {
		t.Errorf("called with %s, %v", args, err)
	}
	if progress.String() != "I: working\n" {
		t.Errorf("progress %q", &progress)
	}
}

func TestFromDebianFails(t *testing.T) {
	dir := t.TempDir()
	fakeBootstrap(t, "echo E: no mirror >&2; exit 25")
	if _, err := (&Base{Unpinned: true}).Make(t.Context(), filepath.Join(dir, "a")); err == nil || !strings.Contains(err.Error(), "mmdebstrap: exit status 25") {
		t.Errorf("error %v", err)
	}
	fakeBootstrap(t, "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := (&Base{Unpinned: true}).Make(ctx, filepath.Join(dir, "a")); err == nil {
		t.Error("no error of a cancelled run")
	}
	t.Setenv("PATH", dir)
	if _, err := (&Base{}).Make(t.Context(), filepath.Join(dir, "a")); err == nil || !strings.Contains(err.Error(), "apt-get install mmdebstrap") {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestMirrorLines(t *testing.T) {
	got := mirrorLines(`http://m.example/debian/ bookworm main
http://m.example/debian/ bookworm contrib
http://m.example/debian/ bookworm-updates main
http://m.example/security/ bookworm-security main
http://other.example/ nodistro main
http://m.example/debian/ trixie main

`)
	if want := []string{
		"deb http://m.example/debian/ bookworm main",
		"deb http://m.example/debian/ bookworm-updates main",
		"deb http://m.example/security/ bookworm-security main",
	}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestDropped(t *testing.T) {
	for name, want := range map[string]bool{
		"./var/log/apt/history.log": true, "/var/log": false, "./var/log/": false, "var/lib/apt/lists/x": true,
		"./etc/hostname": true, "./etc/hosts": false, "./dev/null": true, "./usr/share/dev/x": false,
		"./var/cache/ldconfig/aux-cache": true, "./var/lib/dpkg/status": false,
	} {
		if dropped(name) != want {
			t.Errorf("%s is dropped: %v", name, !want)
		}
	}
}

// bounded is a writer that fails when it has taken enough: a few bytes of a sparse
// file stand for gigabytes.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > 1<<20 {
		return 0, io.ErrShortWrite
	}
	return b.Buffer.Write(p)
}

func FuzzCopyTar(f *testing.F) {
	f.Add([]byte("no tar"))
	f.Add(make([]byte, 1024))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "a", Size: 1, Typeflag: tar.TypeReg})
	_, _ = w.Write([]byte("x"))
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		var once, twice bounded
		if copyTar(t.Context(), &once, bytes.NewReader(text), nil) != nil {
			return
		}
		if err := copyTar(t.Context(), &twice, bytes.NewReader(once.Bytes()), nil); err != nil {
			// everything may have been dropped
			if once.Len() > 1024 {
				t.Errorf("the copy cannot be copied: %v", err)
			}
			return
		}
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Error("a copy of the copy differs")
		}
	})
}
