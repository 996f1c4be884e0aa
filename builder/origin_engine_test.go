//go:build engine

package builder

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/image"
)

// helloFiles are the example's, by name.
func helloFiles(t *testing.T, names ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(hello, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return files
}

// repository serves a Git repository with these files below the folder sub, and
// returns its URL.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	for name, text := range files {
		file := filepath.Join(dir, "sub", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "-q", "-m", "first")
	git("clone", "-q", "--bare", ".", filepath.Join(dir, "x.git"))
	git("-C", filepath.Join(dir, "x.git"), "update-server-info") // so that files are enough to serve it
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	return server.URL + "/x.git#main:sub"
}

// The same sources give the same image, wherever they come from.
func TestOrigins(t *testing.T) {
	all := helloFiles(t, "Dockerfile", "Makefile", "main.c")
	bare := helloFiles(t, "Makefile", "main.c") // built with the SDK's Dockerfile
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(tarOf(t, all)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	files := http.NewServeMux()
	for name, text := range map[string][]byte{"/all.tar": tarOf(t, all), "/all.tar.gz": zipped.Bytes(), "/bare.tar": tarOf(t, bare), "/Dockerfile": []byte("FROM scratch\nCOPY context /a.elf\n")} {
		files.HandleFunc("GET "+name, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
	}
	server := httptest.NewServer(files)
	defer server.Close()

	mini := image.Target{Board: "imx8m-mini"}
	own := project(t, all)
	if err := os.WriteFile(filepath.Join(own, "other"), []byte(strings.Replace(all["Dockerfile"], "FROM scratch", "FROM scratch AS last", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	digests := map[string]string{}
	for _, c := range []struct {
		name  string
		group string // the digests of a group are the same
		r     Request
	}{
		{"folder", "own", Request{Path: own}},
		{"folder and another Dockerfile", "own", Request{Path: own, Dockerfile: own + "/other"}},
		{"folder and Dockerfile from standard input", "own", Request{Path: own, Dockerfile: "-", Stdin: strings.NewReader(all["Dockerfile"])}},
		{"git", "own", Request{Path: repository(t, all)}},
		{"git and named Dockerfile", "own", Request{Path: repository(t, map[string]string{"d/F": all["Dockerfile"], "Makefile": all["Makefile"], "main.c": all["main.c"]}), Dockerfile: "d/F"}},
		{"archive by URL", "own", Request{Path: server.URL + "/all.tar"}},
		{"compressed archive by URL", "own", Request{Path: server.URL + "/all.tar.gz"}},
		{"archive from standard input", "own", Request{Path: "-", Stdin: bytes.NewReader(tarOf(t, all))}},
		{"compressed archive from standard input", "own", Request{Path: "-", Stdin: bytes.NewReader(zipped.Bytes())}},
		{"folder without Dockerfile", "sdk", Request{Path: project(t, bare)}},
		{"git without Dockerfile", "sdk", Request{Path: repository(t, bare)}},
		{"archive without Dockerfile", "sdk", Request{Path: server.URL + "/bare.tar"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Target, c.r.Outputs = mini, []string{"type=oci,dest=" + t.TempDir() + "/a.tar"}
			result, said, err := run(t, c.r)
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			digest := result.Response["containerimage.digest"]
			if want, ok := digests[c.group]; ok && digest != want {
				t.Errorf("digest %s, that of the others is %s", digest, want)
			}
			digests[c.group] = digest
		})
	}
	for _, c := range []struct {
		name, want string
		r          Request
	}{
		{"Dockerfile from standard input", `"/x": not found`, Request{Path: "-", Stdin: strings.NewReader("FROM scratch\nCOPY x /\n")}},
		{"Dockerfile by URL", "Dockerfile: the image has no ENTRYPOINT", Request{Path: server.URL + "/Dockerfile"}},
		{"nothing there", "404", Request{Path: server.URL + "/nothing"}},
		{"no such Dockerfile", server.URL + "/all.tar holds no nope", Request{Path: server.URL + "/all.tar", Dockerfile: "nope"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Target = mini
			if _, _, err := run(t, c.r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// What .dockerignore names does not reach the build, with the project's Dockerfile
// and with the SDK's.
func TestDockerignore(t *testing.T) {
	files := helloFiles(t, "Makefile", "main.c")
	files[".dockerignore"] = "main.c\n"
	_, said, err := run(t, Request{Path: project(t, files), Target: image.Target{Board: "qemu-virt"}})
	if err == nil || !strings.Contains(said, "main.c") {
		t.Errorf("error %v, said %q", err, said)
	}
}

// Named contexts: a folder, a Git repository, an archive, an image of a registry and
// an OCI layout by tag and by digest are all the same to a Dockerfile.
func TestNamedContexts(t *testing.T) {
	files := map[string]string{"name": "the firmware's name\n"}
	archive := tarOf(t, files)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) }))
	defer server.Close()
	for name, source := range map[string]string{
		"folder": project(t, files), "git": repository(t, files), "archive": server.URL + "/x.tar",
	} {
		t.Run(name, func(t *testing.T) {
			dir := project(t, map[string]string{"Dockerfile": "FROM toolchain\nCOPY --from=other . /other\nRUN cat /other/name /other/context 2>/dev/null; exit 3\n"})
			_, said, err := run(t, Request{Path: dir, Contexts: []string{"other=" + source}, Progress: "plain"})
			if err == nil || !strings.Contains(err.Error(), "exit code: 3") || !strings.Contains(said, "the firmware's name") {
				t.Errorf("error %v, said %s", err, said)
			}
		})
	}
}
