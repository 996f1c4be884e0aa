package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dockerSaved is an archive as docker save of Docker 20.10 writes it: two images that
// share a layer, the second of them by a link.
func dockerSaved(t testing.TB, lower, upper []byte) []entry {
	t.Helper()
	config := func(layers ...[]byte) (name, text string) {
		var ids []string
		for _, l := range layers {
			ids = append(ids, fmt.Sprintf("sha256:%x", sha256.Sum256(l)))
		}
		b, err := json.Marshal(map[string]any{
			"architecture": "arm64", "os": "linux", "config": Run{Entrypoint: []string{"/hello.elf"}, Labels: map[string]string{"n": fmt.Sprint(len(layers))}},
			"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
		})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x.json", sha256.Sum256(b)), string(b)
	}
	one, oneText := config(lower)
	two, twoText := config(lower, upper)
	manifest, err := json.Marshal([]saved{
		{Config: one, RepoTags: []string{"hello:1", "hello:latest"}, Layers: []string{"aa/layer.tar"}},
		{Config: two, Layers: []string{"bb/layer.tar", "cc/layer.tar"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return []entry{
		directory("aa"), file("aa/VERSION", "1.0"), file("aa/layer.tar", string(lower)),
		symlink("bb/layer.tar", "../aa/layer.tar"), file("cc/layer.tar", string(upper)),
		file(one, oneText), file(two, twoText), file("manifest.json", string(manifest)), file("repositories", "{}"),
	}
}

func archiveFile(t testing.TB, entries ...entry) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "saved.tar")
	if err := os.WriteFile(name, tarOf(t, entries...), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDockerArchive(t *testing.T) {
	lower, upper := tarOf(t, file("hello.elf", "old")), tarOf(t, file("hello.elf", "new"))
	l, err := Open(archiveFile(t, dockerSaved(t, lower, upper)...))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	images, err := l.Images()
	if err != nil || len(images) != 2 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	for n, want := range []string{"old", "new"} {
		if got := images[n].read("/hello.elf", 100); got != want {
			t.Errorf("image %d: %s, want %s", n, got, want)
		}
	}
	if i := images[0]; i.Name != "hello:1" || i.Digest != "" || i.Manifest.Layers[0].Digest != digestOf(lower) || i.Config.Architecture != "arm64" {
		t.Errorf("%+v", i)
	}
	for tag, want := range map[string]string{"hello:1": "1", "hello": "1", "hello:2": `has no tag "hello:2", it has hello:1, hello:latest`} {
		images, err := l.Select(tag, "")
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", tag, err)
			}
		} else if len(images) != 1 || images[0].Config.Config.Labels["n"] != want {
			t.Errorf("%s: %v, want %s", tag, images, want)
		}
	}
	if _, err := l.Select("", digestOf(lower)); err == nil || !strings.Contains(err.Error(), "no digest can be chosen") {
		t.Errorf("a digest: %v", err)
	}
}

func TestDockerArchiveRefuses(t *testing.T) {
	lower, upper := tarOf(t, file("hello.elf", "old")), tarOf(t, file("hello.elf", "new"))
	change := func(name string, with entry) []entry {
		var all []entry
		for _, e := range dockerSaved(t, lower, upper) {
			if strings.HasSuffix(e.name, name) {
				e = with
			}
			all = append(all, e)
		}
		return all
	}
	good := dockerSaved(t, lower, upper)
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"damaged layer":   {change("cc/layer.tar", file("cc/layer.tar", string(tarOf(t, file("hello.elf", "malware"))))), "layer 2 of 2: blob sha256:"},
		"missing layer":   {change("cc/layer.tar", file("other", "")), "layer 2 of 2: open cc/layer.tar: file does not exist"},
		"link to outside": {change("bb/layer.tar", symlink("bb/layer.tar", "../../../etc/passwd")), "open etc/passwd: file does not exist"},
		"link to itself":  {change("bb/layer.tar", symlink("bb/layer.tar", "layer.tar")), "too many levels of symbolic links"},
		"hard link":       {change("bb/layer.tar", entry{"bb/layer.tar", "aa/layer.tar", tar.TypeLink}), ""},
		"device":          {change("cc/layer.tar", entry{"cc/layer.tar", "", tar.TypeChar}), "layer 2 of 2: open cc/layer.tar: file does not exist"},
		"damaged config":  {change(good[6].name, file(good[6].name, "{}")), "is damaged"},
		"missing config":  {change(good[6].name, file("other.json", "{}")), "config: open "},
		"config outside":  {change("manifest.json", file("manifest.json", `[{"Config": "../../etc/passwd"}]`)), "config: open etc/passwd: file does not exist"},
		"no JSON":         {change("manifest.json", file("manifest.json", `{`)), "manifest.json: unexpected end"},
		"no images":       {change("manifest.json", file("manifest.json", `[]`)), "its manifest.json lists no image"},
		"other count":     {change("manifest.json", file("manifest.json", strings.Replace(good[7].content, `"bb/layer.tar",`, "", 1))), "digests of 2 layers, the archive lists 1"},
		"other digests":   {[]entry{file("c.json", `{"rootfs": {"diff_ids": ["md5:00"]}}`), file("l", ""), file("manifest.json", `[{"Config": "c.json", "Layers": ["l"]}]`)}, `layer 1 of 1: digest "md5:00" is neither sha256 nor sha512`},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(archiveFile(t, c.entries...))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var got string
			if images, err := l.Images(); err != nil {
				got = err.Error()
			} else {
				got = images[len(images)-1].read("/hello.elf", 100)
			}
			if (c.want == "" && got != "new") || !strings.Contains(got, c.want) {
				t.Errorf("%s, want %q", got, c.want)
			}
		})
	}
}

// FuzzArchive opens archives of any bytes.
func FuzzArchive(f *testing.F) {
	lower, upper := tarOf(f, file("hello.elf", "old")), tarOf(f, file("hello.elf", "new"))
	f.Add(tarOf(f, dockerSaved(f, lower, upper)...))
	f.Add(tarOf(f, file("oci-layout", "{}"), file("index.json", `{"manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:00"}]}`)))
	name := filepath.Join(f.TempDir(), "image.tar")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(name)
		if err != nil {
			return
		}
		defer l.Close()
		images, err := l.Images()
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			return
		}
		for _, i := range images[:min(3, len(images))] {
			if b := i.read("/hello.elf", 100); len(b) > 100 && !strings.HasPrefix(b, "error: ") {
				t.Errorf("%d bytes of firmware", len(b))
			}
		}
	})
}
