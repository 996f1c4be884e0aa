package builder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDockerfile(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(without, "Makefile"), []byte("include $(SDK)/baremetal.mk\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Dockerfile", "other"} {
		if err := os.WriteFile(filepath.Join(with, name), []byte("FROM scratch # "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		request Request
		want    dockerfile // text: a part of it
	}{
		{"the project's", Request{Path: with}, dockerfile{name: "Dockerfile", text: []byte("# Dockerfile"), folder: with}},
		{"named", Request{Path: without, Dockerfile: with + "/other"}, dockerfile{name: "other", text: []byte("# other"), folder: with}},
		{"the SDK's", Request{Path: without}, dockerfile{name: "baremetal.Dockerfile", text: []byte("baremetal.mk"), ours: true}},
		{"another SDK's", Request{Path: without, SDK: "zephyr"}, dockerfile{name: "zephyr.Dockerfile", text: []byte("west build"), ours: true}},
		{"standard input", Request{Path: with, Dockerfile: "-", Stdin: strings.NewReader("FROM x")}, dockerfile{name: "Dockerfile", text: []byte("FROM x")}},
	} {
		d, err := c.request.dockerfile(&origin{folder: c.request.Path})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d.name != c.want.name || d.folder != c.want.folder || d.ours != c.want.ours || !strings.Contains(string(d.text), string(c.want.text)) {
			t.Errorf("%s: %s in %q, ours: %v\n%s", c.name, d.name, d.folder, d.ours, d.text)
		}
	}
	if err := os.Mkdir(without+"/Dockerfile", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Request{}).dockerfile(&origin{folder: without}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder as Dockerfile: %v", err)
	}
}

func TestEntrypointLine(t *testing.T) {
	for text, want := range map[string]string{
		"FROM a\nENTRYPOINT [\"x\"]\n":                     "D:2",
		"FROM a\nENTRYPOINT [\"x\"]\nFROM b\n":             "D",
		"FROM a\n# comment\n\nentrypoint x\nLABEL a=b\n":   "D:4",
		"FROM a\nENTRYPOINT [\"x\"]\nENTRYPOINT [\"y\"]\n": "D:3",
		"": "D",
		"FROM a\nRUN <<EOF\nENTRYPOINT x\nEOF\nENTRYPOINT [\"z\"]": "D:5",
	} {
		if got := (&dockerfile{name: "D", text: []byte(text)}).entrypoint(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
