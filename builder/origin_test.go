package builder

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarOf is an archive of these files.
func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOrigin(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// what is a folder here is a folder, even if it is called like a repository
	if err := os.MkdirAll(filepath.Join(dir, "github.com/a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	archive := tarOf(t, map[string]string{"Makefile": "all:\n"})
	for _, c := range []struct {
		path, stdin, dockerfile string
		want                    origin
		spool                   int64
		err                     string
	}{
		{path: dir, want: origin{folder: dir}},
		{path: "github.com/a/b", want: origin{folder: "github.com/a/b"}},
		{path: "github.com/a/c", want: origin{url: "github.com/a/c"}},
		{path: "https://example.com/x.git#main:sub", want: origin{url: "https://example.com/x.git#main:sub"}},
		{path: "git@example.com:x/y.git", want: origin{url: "git@example.com:x/y.git"}},
		{path: "http://localhost:1/x.tar.gz", want: origin{url: "http://localhost:1/x.tar.gz"}},
		{path: "-", stdin: "FROM scratch\n", want: origin{text: []byte("FROM scratch\n")}},
		{path: "-", stdin: string(archive), spool: int64(len(archive))},
		{path: "-", stdin: "", err: "standard input is empty"},
		{path: "-", stdin: "x", dockerfile: "-", err: "PATH and --file are both -"},
		{path: file, err: "file is not a folder: name the folder with the firmware's sources"},
		{path: dir + "/nothing", err: "nothing: no such file or directory"},
	} {
		o, err := (&Request{Path: c.path, Stdin: strings.NewReader(c.stdin), Dockerfile: c.dockerfile}).origin()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.path, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if o.folder != c.want.folder || o.url != c.want.url || !bytes.Equal(o.text, c.want.text) {
			t.Errorf("%s: %+v, want %+v", c.path, o, c.want)
		}
		var size int64
		if o.spool != nil {
			info, err := o.spool.Stat()
			if err != nil {
				t.Fatal(err)
			}
			size = info.Size()
		}
		if size != c.spool {
			t.Errorf("%s: %d bytes spooled, want %d", c.path, size, c.spool)
		}
		o.close()
	}
}

// Who has no registry is told the way out, unless they have taken it.
func TestHint(t *testing.T) {
	failed := errors.New("failed to resolve source metadata for docker.io/library/debian:bookworm-slim: no such host")
	b := &build{sources: newSources()}
	if err := b.withHint(failed); !errors.Is(err, failed) || !strings.Contains(err.Error(), "hybrid sdk base DIR") {
		t.Errorf("%v", err)
	}
	if err := b.withHint(errors.New("another")); err.Error() != "another" {
		t.Errorf("%v", err)
	}
	if err := b.withHint(nil); err != nil {
		t.Errorf("%v", err)
	}
	b.sources.attrs["context:toolchain"] = "x"
	if err := b.withHint(failed); err.Error() != failed.Error() {
		t.Errorf("%v", err)
	}
}
