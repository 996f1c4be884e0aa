package builder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/moby/buildkit/client/llb"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// layoutFolder makes an OCI layout whose index holds these descriptors.
func layoutFolder(t *testing.T, manifests ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	index := `{"schemaVersion":2,"manifests":[` + strings.Join(manifests, ",") + `]}`
	for name, text := range map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": index} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func manifest(digest, tag string) string {
	const mediaType = "application/vnd.oci.image.manifest.v1+json"
	if tag == "" {
		return `{"mediaType":"` + mediaType + `","digest":"` + digest + `","size":2}`
	}
	return `{"mediaType":"` + mediaType + `","digest":"` + digest + `","size":2,"annotations":{"org.opencontainers.image.ref.name":"` + tag + `"}}`
}

func TestContextLayout(t *testing.T) {
	one := layoutFolder(t, manifest(digestA, ""))
	two := layoutFolder(t, manifest(digestA, "a"), manifest(digestB, "latest"))
	none := layoutFolder(t, manifest(digestA, "a"), manifest(digestB, "b"))
	for _, c := range []struct{ source, want, err string }{
		{one, "layout0@" + digestA, ""},
		{one + "@" + digestB, "layout0@" + digestB, ""},
		{two, "layout0@" + digestB, ""},
		{two + ":a", "layout0@" + digestA, ""},
		{two + ":a@" + digestB, "layout0@" + digestB, ""},
		{none, "", `has no image "latest": add :TAG or @DIGEST`},
		{two + ":c", "", `has no image "c"`},
		{one + "@sha256:1", "", "invalid"},
		{filepath.Dir(one), "", "is not a folder with an OCI layout: no such file or directory"},
		{"/nothing", "", "/nothing is not a folder with an OCI layout"},
	} {
		s := newSources()
		err := s.add("toolchain=oci-layout://" + c.source)
		s.close()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "--build-context toolchain") {
				t.Errorf("%s: error %v, want %q", c.source, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if got := s.attrs["context:toolchain"]; got != "oci-layout://"+c.want || s.stores["layout0"] == nil {
			t.Errorf("%s: %s, stores %v", c.source, got, s.stores)
		}
	}
	if _, err := os.Stat(filepath.Join(one, "ingest")); err == nil {
		t.Error("a folder was left in the user's layout")
	}
}

func TestContexts(t *testing.T) {
	dir := t.TempDir()
	for in, want := range map[string]string{
		"a=docker-image://debian:bookworm":           "docker-image://debian:bookworm",
		"A=https://example.com/x.git#main":           "https://example.com/x.git#main",
		"a=git@github.com:acme/x.git":                "git@github.com:acme/x.git",
		"a=ssh://git@example.com/x.git":              "ssh://git@example.com/x.git",
		"a=git://example.com/x":                      "git://example.com/x",
		"a=" + dir:                                   "local:a",
		"toolchain=docker-image://r.io/x@" + digestA: "docker-image://r.io/x@" + digestA,
	} {
		s := newSources()
		if err := s.add(in); err != nil {
			t.Error(err)
			continue
		}
		name := strings.ToLower(in[:strings.IndexByte(in, '=')])
		if got := s.attrs["context:"+name]; got != want || !s.has(name) {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	s := newSources()
	for _, c := range []struct{ in, want string }{
		{"a", "want NAME=SOURCE"},
		{"=x", "want NAME=SOURCE"},
		{"a=", "want NAME=SOURCE"},
		{"a=docker-img://x", "unknown kind docker-img://"},
		{"a=" + dir + "/nothing", "no such file or directory"},
		{"b=" + dir, ""},
		{"B=" + dir, "given twice"},
	} {
		err := s.add(c.in)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.in, err, c.want)
		}
	}
}

// The definition of the SDK's sources must not depend on anything but the sources,
// or no build would find the cache of another.
func TestStateOfIsStable(t *testing.T) {
	tree := fstest.MapFS{"a/b.c": {Data: []byte("1")}, "a/d/e.h": {Data: []byte("2")}, "f": {Data: []byte("3")}}
	digests := map[string]bool{}
	for range 3 {
		st, err := stateOf(tree)
		if err != nil {
			t.Fatal(err)
		}
		digests[head(t, st)] = true
	}
	if len(digests) != 1 {
		t.Errorf("definitions differ: %v", digests)
	}
	tree["f"].Data = []byte("4")
	st, err := stateOf(tree)
	if err != nil {
		t.Fatal(err)
	}
	if digests[head(t, st)] {
		t.Error("another content, the same definition")
	}
	if _, err := stateOf(fstest.MapFS{}); err != nil {
		t.Errorf("empty tree: %v", err)
	}
}

func head(t *testing.T, st llb.State) string {
	t.Helper()
	def, err := st.Marshal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := def.Head()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}
