package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseSource(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"layout", "with:colon", "hello"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"image.tar", "a:b.tar"} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	abs, err := filepath.Abs("image.tar")
	if err != nil {
		t.Fatal(err)
	}
	sum := Digest("sha256:" + strings.Repeat("0a", 32))
	for text, want := range map[string]Source{
		"oci:layout":                           {Path: "layout"},
		"oci:layout:v1":                        {Path: "layout", Tag: "v1"},
		"oci:layout:v1@" + string(sum):         {Path: "layout", Tag: "v1", Digest: sum},
		"oci:with:colon":                       {Path: "with:colon"},
		"oci:with:colon:v1":                    {Path: "with:colon", Tag: "v1"},
		"oci-archive:image.tar:v1":             {Path: "image.tar", Tag: "v1"},
		"docker-archive:image.tar:host:1/a:v1": {Path: "image.tar", Tag: "host:1/a:v1"},
		"image.tar":                            {Path: "image.tar"},
		abs:                                    {Path: abs},
		"./layout":                             {Path: "./layout"},
		"layout:v1":                            {Path: "layout", Tag: "v1"},
		"layout@" + string(sum):                {Path: "layout", Digest: sum},
		"a:b.tar":                              {Path: "a:b.tar"},
		"hello":                                {Path: "hello"}, // a path if it exists
		"docker:hello":                         {Engine: Docker, Name: "hello"},
		"docker:hello:1":                       {Engine: Docker, Name: "hello:1"},
		"containerd:k8s.io/docker.io/library/hello:1": {Engine: Containerd, Name: "k8s.io/docker.io/library/hello:1"},
		"podman:localhost/hello":                      {Engine: Podman, Name: "localhost/hello"},
		"other":                                       {Name: "other"},
		"registry:5000/other:1@" + string(sum):        {Name: "registry:5000/other:1@" + string(sum)},
	} {
		if got, err := ParseSource(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                    "no such file or directory",
		"./other":             "./other: no such file or directory",
		"/none/image":         "no such file or directory",
		"other.tar":           "other.tar: no such file or directory",
		"oci:other":           "other: no such file or directory",
		"oci:image.tar":       "image.tar is no folder: oci-archive: and docker-archive: are for archives",
		"oci-archive:layout":  "layout is a folder, and oci-archive: is for archives",
		"layout@sha256:12":    `digest "sha256:12" is not sha256: and 64 hexadecimal digits`,
		"image.tar/below.tar": "not a directory",
		"-x":                  `"-x" is not the name of an image: it starts with -`,
		"oci:":                "\"oci:\": want oci: and a path",
		"docker:":             "want docker: and the name of an image",
		"docker:--help":       "want docker: and the name of an image",
	} {
		if got, err := ParseSource(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", text, got, err, want)
		}
	}
}
