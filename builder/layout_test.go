package builder

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A layout is a content store that reads blobs, tells what is not there, and neither
// follows a link out of the folder nor leaves anything in it.
func TestLayoutIsOnlyRead(t *testing.T) {
	dir := t.TempDir()
	there, link, missing := digest.FromString("blob"), digest.FromString("link"), digest.FromString("missing")
	blobs := filepath.Join(dir, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"oci-layout": "{}", "index.json": "{}", "blobs/sha256/" + there.Encoded(): "blob"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(blobs, link.Encoded())); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := l.Info(t.Context(), there)
	if err != nil || info.Size != 4 || info.Digest != there {
		t.Errorf("%+v, %v", info, err)
	}
	r, err := l.ReaderAt(t.Context(), v1.Descriptor{Digest: there})
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, r.Size())
	if _, err := r.ReadAt(text, 0); err != nil || string(text) != "blob" {
		t.Errorf("%q, %v", text, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Info(t.Context(), missing); !errdefs.IsNotFound(err) {
		t.Errorf("missing: %v", err)
	}
	for _, d := range []digest.Digest{link, "sha256:../../../../etc/passwd", ""} {
		if _, err := l.Info(t.Context(), d); err == nil || errdefs.IsNotFound(err) {
			t.Errorf("%s: %v", d, err)
		}
	}
	if _, err := l.Writer(t.Context()); !errors.Is(err, errReadOnly) {
		t.Errorf("writing: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	after, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !after.ModTime().Equal(before.ModTime()) {
		t.Error("the folder was written to")
	}
}
