package image

import (
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestFiles(t *testing.T) {
	w := newWriter(t)
	first := tarOf(t, entry{name: "hello.elf", content: "old"}, entry{"doc", "", '5'}, entry{name: "doc/a", content: "a"}, entry{name: "b/c", content: "c"})
	w.index(w.image(v1.ImageConfig{}, nil, first, gzipped(t, tarOf(t, entry{name: "doc/.wh.a"}, entry{name: "hello.elf", content: "newer"}, entry{name: ".wh.b"}))))
	l, err := Open(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	images, err := l.Images()
	if err != nil {
		t.Fatal(err)
	}
	files, unpacked, err := images[0].Files()
	if err != nil || !slices.Equal(files, []Entry{{"/hello.elf", 5}}) {
		t.Errorf("files %v, %v", files, err)
	}
	if len(unpacked) != 2 || unpacked[0] != int64(len(first)) {
		t.Errorf("unpacked %v, want %d first", unpacked, len(first))
	}
}

func TestSelect(t *testing.T) {
	w := newWriter(t)
	one := w.image(v1.ImageConfig{Labels: map[string]string{"n": "1"}}, nil)
	one.Annotations = map[string]string{v1.AnnotationRefName: "one"}
	two := w.image(v1.ImageConfig{Labels: map[string]string{"n": "2"}}, nil)
	three := w.image(v1.ImageConfig{Labels: map[string]string{"n": "3"}}, nil)
	nested := w.json(v1.MediaTypeImageIndex, v1.Index{Manifests: []v1.Descriptor{two, three}})
	nested.Annotations = map[string]string{"io.containerd.image.name": "both"}
	l, err := Open(w.index(one, nested))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		tag  string
		want Digest
		have string // labels n, or an error
	}{
		{"", "", "123"},
		{"one", "", "1"},
		{"both", "", "23"},
		{"", Digest(nested.Digest), "23"},
		{"", Digest(three.Digest), "3"},
		{"both", Digest(two.Digest), "2"},
		{"one", Digest(two.Digest), "lists no image"},
		{"four", "", `has no tag "four"`},
	} {
		images, err := l.Select(c.tag, c.want)
		have := ""
		for _, i := range images {
			have += i.Config.Config.Labels["n"]
		}
		if err != nil {
			have = err.Error()
		}
		if !strings.HasSuffix(have, c.have) && !strings.Contains(have, c.have) || (err == nil && have != c.have) {
			t.Errorf("Select(%q, %q) = %q, want %q", c.tag, c.want, have, c.have)
		}
	}
}
