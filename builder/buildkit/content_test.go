package buildkit

import (
	"io"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// onceReader is what BuildKit reads from an OCI layout: from the beginning alone.
type onceReader struct{ io.Reader }

func TestAnew(t *testing.T) {
	files, err := local.NewStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const text = "the whole blob"
	desc := v1.Descriptor{Digest: digest.FromString(text), Size: int64(len(text))}
	open := func(store content.Store) content.Writer {
		w, err := content.OpenWriter(t.Context(), store, content.WithRef("blob"), content.WithDescriptor(desc))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := open(anew{files})
	if _, err := io.WriteString(w, "the who"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil { // broken off
		t.Fatal(err)
	}
	// the store by itself goes on
	w = open(files)
	if s, err := w.Status(); err != nil || s.Offset != int64(len("the who")) {
		t.Fatalf("offset %d, %v: the test shows nothing", s.Offset, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = open(anew{files})
	if s, err := w.Status(); err != nil || s.Offset != 0 {
		t.Errorf("offset %d, %v", s.Offset, err)
	}
	if err := content.Copy(t.Context(), w, onceReader{strings.NewReader(text)}, desc.Size, desc.Digest); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if b, err := content.ReadBlob(t.Context(), files, desc); err != nil || string(b) != text {
		t.Errorf("%q, %v", b, err)
	}
}
