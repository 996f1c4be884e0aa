//go:build engine

// Builds with the embedded BuildKit: as root, with runc, and HYBRID_SDK_BASE naming
// the OCI layout that hybrid sdk base makes.
package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/sirupsen/logrus"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/builder/buildkit"
	"github.com/hybrid-containers/hybrid/image"
)

const hello = "../examples/hello_world"

// shared is the BuildKit of all tests: a process may build with one per state folder.
var (
	stateDir string
	shared   *buildkit.BuildKit
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	os.Exit(func() int {
		var err error
		if stateDir, err = os.MkdirTemp("", "hybrid-state"); err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(stateDir)
		if shared, err = buildkit.Open(context.Background(), buildkit.Options{Builder: buildkit.UseEmbedded, StateDir: stateDir}); err != nil {
			log.Fatal(err)
		}
		code := m.Run()
		if err := shared.Close(); err != nil {
			log.Print(err)
			code = 1
		}
		return code
	}())
}

// run builds r with the toolchain's base image, and returns what it says.
func run(t *testing.T, r Request) (*Result, string, error) {
	t.Helper()
	base := os.Getenv("HYBRID_SDK_BASE")
	if base == "" {
		t.Fatal("HYBRID_SDK_BASE must name the OCI layout that hybrid sdk base makes")
	}
	var said bytes.Buffer
	r.Contexts = append(r.Contexts, "toolchain=oci-layout://"+base)
	if r.Stderr == nil {
		r.Stderr = &said
	}
	if r.Progress == "" {
		r.Progress = "quiet"
	}
	if r.BuildKit.StateDir != "" {
		result, err := Build(t.Context(), r)
		return result, said.String(), err
	}
	result, err := buildOn(t.Context(), r, openShared)
	return result, said.String(), err
}

func openShared(buildkit.Options) (*buildkit.BuildKit, func() error, error) {
	return shared, func() error { return nil }, nil
}

// only returns the one image of a layout.
func only(t *testing.T, name string) *image.Image {
	t.Helper()
	l, err := image.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	images, err := l.Images()
	if err != nil || len(images) != 1 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	return images[0]
}

func checkImage(t *testing.T, i *image.Image, target image.Target, entry string) {
	t.Helper()
	if got := image.TargetOf(i.Manifest.Annotations); got != target {
		t.Errorf("annotations %v say %v, want %v", i.Manifest.Annotations, got, target)
	}
	if got := image.TargetOf(i.Config.Config.Labels); got != target {
		t.Errorf("labels %v, want %v", i.Config.Config.Labels, target)
	}
	if got := image.TargetOfEnv(i.Config.Config.Env); got != target {
		t.Errorf("environment %v, want %v", i.Config.Config.Env, target)
	}
	if got, err := i.Entrypoint(); got != entry || err != nil {
		t.Errorf("entrypoint %s, %v, want %s", got, err, entry)
	}
	if len(i.Manifest.Layers) != 1 {
		t.Errorf("%d layers", len(i.Manifest.Layers))
	}
	known, err := board.Lookup(target.Board)
	if err != nil {
		t.Fatal(err)
	}
	if got := path.Join(i.Config.OS, i.Config.Architecture, i.Config.Variant); got != known.Platform() {
		t.Errorf("platform %s, Linux on the board is %s", got, known.Platform())
	}
}

// The line that the project's mission gives, as it stands there.
func TestMission(t *testing.T) {
	project, err := filepath.Abs(hello)
	if err != nil {
		t.Fatal(err)
	}
	fake := t.TempDir()
	if err := os.WriteFile(filepath.Join(fake, "docker"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", fake+":"+os.Getenv("PATH"))
	t.Chdir(t.TempDir())
	result, said, err := run(t, Request{
		Path:    project,
		Outputs: []string{"type=docker,name=target,annotation[linux/arm64].board=imx8m-mini,mcu=cortex-m4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said, "the image is in target.tar") {
		t.Errorf("said %q", said)
	}
	i := only(t, "target.tar")
	checkImage(t, i, image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, "/hello_world.elf")
	if i.Name != "docker.io/library/target:latest" || string(i.Digest) != result.Response["containerimage.digest"] {
		t.Errorf("%s %s, the exporter says %v", i.Name, i.Digest, result.Response)
	}
}

// project makes a folder with these files.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const blink = "PROGRAMS := blink\nblink_SOURCES := main.c\ninclude $(SDK)/baremetal.mk\n"

func TestOutputs(t *testing.T) {
	main, err := os.ReadFile(hello + "/main.c")
	if err != nil {
		t.Fatal(err)
	}
	own := project(t, map[string]string{"Makefile": blink, "main.c": string(main)})
	for _, c := range []struct {
		name, path, board, entry string
	}{
		{"the example", hello, "imx8m-mini", "/hello_world.elf"},
		{"the example for another board", hello, "qemu-virt", "/hello_world.elf"},
		{"the SDK's Dockerfile", own, "qemu-virt", "/blink.elf"},
		{"an alias", own, "imx8mm-evk", "/blink.elf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			target := image.Target{Board: c.board, MCU: "cortex-m4"}
			_, _, err := run(t, Request{
				Path: c.path, Target: image.Target{Board: c.board}, Tags: []string{"hello:1"},
				Outputs: []string{
					"type=oci,dest=" + dir + "/oci.tar",
					"type=docker,dest=" + dir + "/docker.tar,annotation.x=y",
					"type=local,dest=" + dir + "/local",
				},
				MetadataFile: dir + "/metadata.json",
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"oci.tar", "docker.tar"} {
				checkImage(t, only(t, filepath.Join(dir, name)), target, c.entry)
			}
			if got := only(t, dir+"/docker.tar").Manifest.Annotations["x"]; got != "y" {
				t.Errorf("annotation x=%s", got)
			}
			if got := names(t, dir+"/local"); "/"+got != c.entry {
				t.Errorf("local files: %s", got)
			}
			if got := names(t, dir); got != "docker.tar local metadata.json oci.tar" {
				t.Errorf("left behind: %s", got)
			}
			text, err := os.ReadFile(dir + "/metadata.json")
			if err != nil || !json.Valid(text) {
				t.Errorf("metadata %s, %v", text, err)
			}
		})
	}
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range []string{"oci", "docker", "oci"} { // the last adds to a folder that is there
		if _, _, err := run(t, Request{Path: hello, Outputs: []string{"type=" + kind + ",tar=false,dest=" + dir + "/" + kind}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"oci", "docker"} {
		checkImage(t, only(t, dir+"/"+kind), image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, "/hello_world.elf")
		if got := names(t, dir+"/"+kind); got != "blobs index.json oci-layout" {
			t.Errorf("%s holds %s", kind, got)
		}
	}
}

func TestStdout(t *testing.T) {
	var stdout bytes.Buffer
	if _, _, err := run(t, Request{Path: hello, Outputs: []string{"type=oci,dest=-"}, Stdout: &stdout}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(file, stdout.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	checkImage(t, only(t, file), image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, "/hello_world.elf")
}

func TestBuildFails(t *testing.T) {
	const label = "LABEL board=qemu-virt\n"
	for _, c := range []struct {
		name, dockerfile, want string
		request                Request
		source                 bool // BuildKit knows the line
		said                   string
	}{
		{name: "syntax", dockerfile: "FROM scratch\nFOO bar\n", want: "unknown instruction: FOO", source: true},
		{name: "no target", dockerfile: "FROM scratch\nCOPY f /a.elf\nENTRYPOINT [\"a.elf\"]\n", want: "no target: say which core"},
		{
			name: "contradiction", dockerfile: "FROM scratch\nCOPY f /a.elf\nENTRYPOINT [\"a.elf\"]\n" + label,
			request: Request{Target: image.Target{Board: "imx8m-mini"}},
			want:    "--board/--mcu says board=imx8m-mini, LABEL in Dockerfile says board=qemu-virt",
		},
		{
			name: "label and environment", dockerfile: "FROM scratch\nCOPY f /a.elf\nENV HYBRID_BOARD=imx93-evk\nENTRYPOINT [\"a.elf\"]\n" + label,
			want: "LABEL in Dockerfile says board=qemu-virt, ENV in Dockerfile says board=imx93-evk",
		},
		{
			name: "a label of ours does not hide the Dockerfile's", dockerfile: "FROM scratch\nCOPY f /a.elf\nENTRYPOINT [\"a.elf\"]\n" + label,
			request: Request{Labels: []string{"board=imx8m-mini"}},
			want:    "--label says board=imx8m-mini, LABEL in Dockerfile says board=qemu-virt",
		},
		{name: "no entrypoint", dockerfile: "FROM scratch\nCOPY f /\n" + label, want: "has no ENTRYPOINT"},
		{name: "missing", dockerfile: "FROM scratch\nCOPY f /\nENTRYPOINT [\"x.elf\"]\n" + label, want: "Dockerfile:3: ENTRYPOINT /x.elf is not in the image, which holds /f"},
		{name: "empty", dockerfile: "FROM scratch\nENTRYPOINT [\"x.elf\"]\n" + label, want: "the image is empty"},
		{name: "no ELF", dockerfile: "FROM scratch\nCOPY f /\nENTRYPOINT [\"f\"]\n" + label, want: "Dockerfile:3: firmware /f: not an ELF file"},
		{name: "layers", dockerfile: "FROM scratch\nCOPY f /\nCOPY f /g\nENTRYPOINT [\"f\"]\n" + label, want: "the image has 2 layers"},
		{
			name: "machine", dockerfile: "FROM toolchain AS t\nFROM scratch\nCOPY --from=t /usr/bin/make /m\nENTRYPOINT [\"m\"]\n" + label,
			want: "Dockerfile:4: firmware /m: wrong machine for cortex-m4",
		},
		{name: "step", dockerfile: "FROM toolchain\nRUN echo the reason; exit 3\n", want: "exit code: 3", source: true, said: "the reason"},
		{name: "stage", dockerfile: "FROM scratch\n", request: Request{Stage: "nope"}, want: "nope"},
		{
			name: "image without push", dockerfile: "FROM scratch\n", request: Request{Outputs: []string{"type=image,name=x"}},
			want: "type=image without push=true",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := project(t, map[string]string{"Dockerfile": c.dockerfile, "f": "text\n"})
			out := t.TempDir()
			c.request.Path = dir
			if len(c.request.Outputs) == 0 {
				c.request.Outputs = []string{"type=oci,tar=false,dest=" + out + "/a", "type=local,dest=" + out + "/files"}
			}
			_, said, err := run(t, c.request)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			if got := len(errdefs.Sources(err)) > 0; got != c.source {
				t.Errorf("the error names a line of the Dockerfile: %v, want %v", got, c.source)
			}
			if !strings.Contains(said, c.said) || !c.source && said != "" {
				t.Errorf("said %q, want %q", said, c.said)
			}
			if got := names(t, out); got != "" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	dir := project(t, map[string]string{"main.c": "void _start(void) { for (;;); }\n", "Dockerfile": `FROM toolchain AS build
COPY main.c .
RUN mkdir /out && cp main.c /out/ && arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -nostdlib -Wl,-Ttext=0x60000000,--build-id=none main.c -o /out/a.elf
FROM scratch
COPY --from=build /out /
LABEL board=qemu-virt
ENTRYPOINT ["a.elf"]
`})
	_, said, err := run(t, Request{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"warning: HB005: firmware /a.elf: no resource table",
		"warning: HB024: Dockerfile: beside the firmware the image holds /main.c",
		"warning: nothing was exported",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
	}
}

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	name := strings.TrimPrefix(server.URL, "http://") + "/team/hello:v1"
	result, _, err := run(t, Request{Path: hello, Tags: []string{name}, Push: true, Annotations: []string{"who=me"}})
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Get(server.URL + "/v2/team/hello/manifests/v1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var manifest struct{ Annotations map[string]string }
	if err := json.NewDecoder(response.Body).Decode(&manifest); err != nil {
		t.Fatal(err)
	}
	if a := manifest.Annotations; a["board"] != "imx8m-mini" || a["mcu"] != "cortex-m4" || a["who"] != "me" {
		t.Errorf("annotations %v", a)
	}
	if got := response.Header.Get("Docker-Content-Digest"); got != result.Response["containerimage.digest"] {
		t.Errorf("the registry has %s, the exporter says %v", got, result.Response)
	}
	server.Close()
	if _, _, err := run(t, Request{Path: hello, Tags: []string{name}, Push: true}); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("push to nowhere: %v", err)
	}
}

// The same inputs give the same bytes, from another cache, another folder and at
// another time.
func TestReproducible(t *testing.T) {
	var digests []string
	for _, state := range []string{"", t.TempDir()} { // "": the shared one
		files := map[string]string{}
		for _, name := range []string{"Dockerfile", "Makefile", "main.c"} {
			text, err := os.ReadFile(filepath.Join(hello, name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(text)
		}
		result, _, err := run(t, Request{
			Path: project(t, files), BuildKit: buildkit.Options{Builder: buildkit.UseEmbedded, StateDir: state},
			Outputs: []string{"type=oci,dest=" + t.TempDir() + "/a.tar"},
		})
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, result.Response["containerimage.digest"])
	}
	if digests[0] == "" || digests[0] != digests[1] {
		t.Errorf("digests %v", digests)
	}
}

// watcher is a writer that tells when a text was written to it.
type watcher struct {
	mu   sync.Mutex
	seen bytes.Buffer
	text string
	done chan struct{}
	once sync.Once
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Write(p)
	if bytes.Contains(w.seen.Bytes(), []byte(w.text)) {
		w.once.Do(func() { close(w.done) })
	}
	return len(p), nil
}

func TestCancelLeavesNothing(t *testing.T) {
	dir, out := project(t, map[string]string{"Dockerfile": "FROM toolchain\nRUN echo step is $((40+2)) && sleep 4242\n"}), t.TempDir()
	w := &watcher{text: "step is 42", done: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stopped := errors.New("enough")
	var cancelled time.Time
	go func() {
		select {
		case <-w.done:
		case <-time.After(time.Minute):
		}
		cancelled = time.Now()
		cancel(stopped)
	}()
	state := t.TempDir()
	_, err := Build(ctx, Request{
		Path: dir, Progress: "plain", Stderr: w, NoCache: true,
		Contexts: []string{"toolchain=oci-layout://" + os.Getenv("HYBRID_SDK_BASE")},
		Outputs:  []string{"type=oci,tar=false,dest=" + out + "/a"},
		BuildKit: buildkit.Options{Builder: buildkit.UseEmbedded, StateDir: state},
	})
	if !errors.Is(err, stopped) {
		t.Fatalf("error %v\n%s", err, &w.seen)
	}
	if took := time.Since(cancelled); took > 5*time.Second {
		t.Errorf("took %v to stop", took)
	}
	if got := names(t, out); got != "" {
		t.Errorf("left behind: %s", got)
	}
	if left := processes(t, "sleep\x004242", state); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), state) {
		t.Errorf("mounts are left: %s", mounts)
	}
}

// processes lists the command lines of other processes that contain one of texts.
func processes(t *testing.T, texts ...string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil {
			continue // it ended
		}
		if slices.ContainsFunc(texts, func(s string) bool { return bytes.Contains(line, []byte(s)) }) {
			found = append(found, string(line))
		}
	}
	return found
}

func BenchmarkBuild(b *testing.B) {
	for _, mode := range []struct {
		name    string
		noCache bool
	}{{"warm", false}, {"no-cache", true}} {
		b.Run(mode.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := buildOn(b.Context(), Request{
					Path: hello, Progress: "quiet", Stderr: io.Discard, NoCache: mode.noCache,
					Contexts: []string{"toolchain=oci-layout://" + os.Getenv("HYBRID_SDK_BASE")},
					Outputs:  []string{"type=oci,dest=" + b.TempDir() + "/a.tar"},
				}, openShared); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
