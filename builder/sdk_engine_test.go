//go:build engine

// The SDKs' Dockerfiles, with trees that are shaped like the SDKs: see testdata.
package builder

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	controlapi "github.com/moby/buildkit/api/services/control"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/sdk"
)

// tree is a folder shaped like the SDK name; "" if it is part of hybrid.
func tree(t *testing.T, name string) string {
	t.Helper()
	if name == sdk.BareMetal {
		return ""
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	if name == sdk.Zephyr {
		if err := os.CopyFS(filepath.Join(dir, ".python"), os.DirFS("testdata/west/src")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// boardOf is a board that the SDK knows.
var boardOf = map[string]string{
	sdk.BareMetal: "qemu-virt", sdk.MCUXpresso: "imx8m-mini", sdk.STM32Cube: "stm32mp157c-dk2", sdk.Zephyr: "imx8m-mini",
}

// newProject writes what hybrid init writes.
func newProject(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blink")
	if err := Init(dir, name, image.Target{Board: boardOf[name]}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A new project of each SDK builds as it stands, without saying which SDK it is for,
// and gives the same image a second time.
func TestNewProjects(t *testing.T) {
	for _, name := range sdk.Names() {
		t.Run(name, func(t *testing.T) {
			var digests []string
			for range 2 {
				file := filepath.Join(t.TempDir(), "a.tar")
				r := Request{
					Path: newProject(t, name), NoCacheFilter: []string{"build"},
					Outputs: []string{"type=oci,dest=" + file},
				}
				if dir := tree(t, name); dir != "" {
					r.Contexts = []string{"sdk=" + dir}
				}
				result, said, err := run(t, r)
				if err != nil {
					t.Fatalf("%v\n%s", err, said)
				}
				checkImage(t, only(t, file), image.Target{Board: boardOf[name], MCU: "cortex-m4"}, "/blink.elf")
				digests = append(digests, result.Response["containerimage.digest"])
			}
			if digests[0] == "" || digests[0] != digests[1] {
				t.Errorf("digests %v", digests)
			}
		})
	}
}

// Without a project, an example of the SDK is built.
func TestExamples(t *testing.T) {
	for _, c := range []struct{ sdk, example string }{
		{sdk.MCUXpresso, "demo_apps/hello_world"},
		{sdk.Zephyr, "samples/hello_world"},
	} {
		file := filepath.Join(t.TempDir(), "a.tar")
		_, said, err := run(t, Request{
			Path: t.TempDir(), SDK: c.sdk, Target: image.Target{Board: "imx8m-mini"}, Contexts: []string{"sdk=" + tree(t, c.sdk)},
			BuildArgs: []string{"EXAMPLE=" + c.example}, Outputs: []string{"type=oci,dest=" + file},
		})
		if err != nil {
			t.Errorf("%s: %v\n%s", c.sdk, err, said)
			continue
		}
		checkImage(t, only(t, file), image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, "/hello_world.elf")
	}
}

// What goes wrong in a build says so in one line.
func TestSDKBuildFails(t *testing.T) {
	for _, c := range []struct {
		name, sdk, want string
		files           map[string]string
		args            []string
	}{
		{name: "no example", sdk: sdk.MCUXpresso, args: []string{"EXAMPLE=x"}, want: "the SDK has no example x for evkmimx8mm"},
		{name: "nothing to build", sdk: sdk.MCUXpresso, want: "there is neither armgcc/build_release.sh nor CMakeLists.txt"},
		{
			name: "a script that hides its failure", sdk: sdk.MCUXpresso, files: map[string]string{"build_release.sh": "false | tee log\n"},
			want: "the build made no release/*.elf",
		},
		{name: "no application", sdk: sdk.Zephyr, want: "no Zephyr application: there is no CMakeLists.txt"},
		{name: "no board", sdk: sdk.Zephyr, args: []string{"SDK_BOARD=nope", "EXAMPLE=samples/hello_world"}, want: "No board named 'nope' found"},
		{name: "an .ioc alone", sdk: sdk.STM32Cube, files: map[string]string{"a.ioc": ""}, want: "no Makefile: let STM32CubeMX generate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, said, err := run(t, Request{
				Path: project(t, c.files), SDK: c.sdk, Target: image.Target{Board: boardOf[c.sdk]},
				Contexts: []string{"sdk=" + tree(t, c.sdk)}, BuildArgs: c.args,
			})
			if err == nil || !strings.Contains(said, c.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 120 {
				t.Errorf("error %v, want %q in\n%s", err, c.want, said)
			}
		})
	}
}

// marker is a text in the archive that is not in the program made of it.
const marker = "/* a text that only the archive holds */\n"

// archiveTree is the MCUXpresso tree as NXP's archive has it: what the repository has
// in core is at the top, the examples are in boards.
func archiveTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{"core": "", "examples": "boards"} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS("testdata/mcuxpresso/"+from)); err != nil {
			t.Fatal(err)
		}
	}
	board := filepath.Join(dir, "boards/evkmimx8mm/project_template/board.c")
	text, err := os.ReadFile(board)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(board, append([]byte(marker), text...), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func zipOf(t *testing.T, folder string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if err := errors.Join(w.AddFS(os.DirFS(folder)), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarGzOf(t *testing.T, fill func(*tar.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := errors.Join(fill(w), w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func written(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "SDK_2_16_100_EVK-MIMX8MM")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestArchive(t *testing.T) {
	zipped := zipOf(t, archiveTree(t))
	inFolder := t.TempDir()
	if err := os.Rename(archiveTree(t), filepath.Join(inFolder, "SDK_2_16")); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(zipped)
	for name, flag := range map[string]string{
		"zip":             written(t, zipped) + ",sha256=" + hex.EncodeToString(sum[:]),
		"tar in a folder": written(t, tarGzOf(t, func(w *tar.Writer) error { return w.AddFS(os.DirFS(inFolder)) })),
		"tar":             written(t, tarGzOf(t, func(w *tar.Writer) error { return w.AddFS(os.DirFS(filepath.Join(inFolder, "SDK_2_16"))) })),
	} {
		t.Run(name, func(t *testing.T) {
			for want, r := range map[string]Request{
				"/blink.elf":       {Path: newProject(t, sdk.MCUXpresso)},
				"/hello_world.elf": {Path: t.TempDir(), SDK: sdk.MCUXpresso, BuildArgs: []string{"EXAMPLE=demo_apps/hello_world"}},
			} {
				file := filepath.Join(t.TempDir(), "a.tar")
				r.Target, r.SDKArchive, r.Outputs = image.Target{Board: "imx8m-mini"}, flag, []string{"type=oci,dest=" + file}
				if _, said, err := run(t, r); err != nil {
					t.Fatalf("%v\n%s", err, said)
				}
				checkImage(t, only(t, file), image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, want)
			}
		})
	}
}

// bomb is a tar.gz of a few kB with one file of size bytes, a multiple of 64 MiB.
func bomb(t *testing.T, size int64) []byte {
	t.Helper()
	const block = 64 << 20
	var b, zeros bytes.Buffer
	head := gzip.NewWriter(&b)
	err := tar.NewWriter(head).WriteHeader(&tar.Header{Name: "devices/zeros", Mode: 0o644, Size: size, Typeflag: tar.TypeReg})
	if err := errors.Join(err, head.Close()); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&zeros)
	if _, err := z.Write(make([]byte, block)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for range size / block { // gzip files may be joined
		b.Write(zeros.Bytes())
	}
	return b.Bytes()
}

// An archive is not trusted.
func TestHostileArchives(t *testing.T) {
	entry := func(name, link string, kind byte) []byte {
		return tarGzOf(t, func(w *tar.Writer) error {
			return errors.Join(
				w.WriteHeader(&tar.Header{Name: "devices/", Typeflag: tar.TypeDir, Mode: 0o755}),
				w.WriteHeader(&tar.Header{Name: name, Linkname: link, Typeflag: kind, Mode: 0o644}))
		})
	}
	slip := func() []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create("../../usr/local/bin/cp")
		if err == nil {
			_, err = io.WriteString(f, "evil")
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		name, want string
		text       []byte
		flag       string
	}{
		{"no archive", "is neither zip nor tar.gz: was it a login page that was saved?", []byte("<html>Sign in</html>"), ""},
		{"empty", "is neither zip nor tar.gz", nil, ""},
		{"cut short", "cannot be unpacked", zipOf(t, archiveTree(t))[:900], ""},
		{"another checksum", "has sha256 ", []byte("PK"), ",sha256=" + strings.Repeat("0", 64)},
		{"something else", "is no MCUXpresso SDK: it has no folder devices", zipOf(t, "testdata/west"), ""},
		{"a name that climbs, zip", "holds a name that leads out of it: ../../usr/local/bin/cp", slip(), ""},
		{"a name that climbs, tar", "cannot be unpacked", entry("devices/../../etc/passwd", "", tar.TypeReg), ""},
		{"a link to the root", "holds a link that leads out of it", entry("devices/x", "/etc", tar.TypeSymlink), ""},
		{"a link that climbs", "holds a link that leads out of it", entry("devices/x", "../../../etc", tar.TypeSymlink), ""},
		{"a pipe", "holds a device or a pipe: devices/x", entry("devices/x", "", tar.TypeFifo), ""},
		{"a device", "holds a device or a pipe: devices/x", entry("devices/x", "", tar.TypeChar), ""},
		{"more than fits", "needs more than 32m: if it is to be trusted", bomb(t, 128<<20), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, said, err := run(t, Request{
				Path: newProject(t, sdk.MCUXpresso), Target: image.Target{Board: "imx8m-mini"}, SDKArchive: written(t, c.text) + c.flag,
				BuildArgs: []string{"SDK_ARCHIVE_LIMIT=32m"},
			})
			if err == nil || !strings.Contains(err.Error(), "unpack-archive") || !strings.Contains(said, c.want) {
				t.Errorf("error %v, want %q in\n%s", err, c.want, said)
			}
		})
	}
}

// holders are the files below folder that hold one of texts, as they are or after
// decompression, and how many files were read.
func holders(t *testing.T, folder string, texts ...[]byte) (found []string, read int) {
	t.Helper()
	has := func(text []byte) bool {
		for _, want := range texts {
			if bytes.Contains(text, want) {
				return true
			}
		}
		return false
	}
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // BuildKit has removed it
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		read++
		plain := text
		switch {
		case bytes.HasPrefix(text, []byte{0x28, 0xb5, 0x2f, 0xfd}):
			z, err := zstd.NewReader(bytes.NewReader(text))
			if err != nil {
				return err
			}
			defer z.Close()
			if plain, err = io.ReadAll(z); err != nil {
				return nil // of another kind: it was searched as it is
			}
		case bytes.HasPrefix(text, []byte{0x1f, 0x8b}):
			z, err := gzip.NewReader(bytes.NewReader(text))
			if err != nil {
				return nil // likewise
			}
			if plain, err = io.ReadAll(z); err != nil {
				return nil // likewise
			}
		}
		if has(text) || has(plain) {
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, read
}

// The token that fetches the archive is shown to the server, and found nowhere
// afterwards: in no file of BuildKit's state, no layer, the history, what the build
// says, or the command line and environment of a process.
func TestTokenLeavesNoTrace(t *testing.T) {
	token := "nxp-0123456789-" + t.Name()
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	zipped := zipOf(t, archiveTree(t))
	var shown, processes []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("Authorization"))
		for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
			files, err := filepath.Glob(pattern)
			if err != nil {
				t.Error(err)
			}
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err == nil && bytes.Contains(text, []byte(token)) {
					t.Errorf("%s holds the token: %q", f, text)
				}
				processes = append(processes, string(text))
			}
		}
		if _, err := w.Write(zipped); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	out := t.TempDir()
	var said bytes.Buffer
	_, _, err := run(t, Request{
		Path: newProject(t, sdk.MCUXpresso), Target: image.Target{Board: "imx8m-mini"},
		SDKArchive: server.URL + "/SDK.zip", Secrets: []string{"id=nxp_token,src=" + secret},
		Outputs:  []string{"type=oci,tar=false,dest=" + out + "/image"},
		CacheTo:  []string{"type=local,mode=max,compression=zstd,dest=" + out + "/cache"}, // every layer of every stage
		Progress: "plain", Stderr: &said, Provenance: "mode=max",
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	if len(shown) != 1 || shown[0] != "Bearer "+token {
		t.Fatalf("the server was shown %q", shown)
	}
	if !strings.Contains(strings.Join(processes, "\n"), "curl\x00--config\x00-") {
		t.Error("curl was not among the processes: the search is blind")
	}
	texts := [][]byte{[]byte(token), []byte(hex.EncodeToString([]byte(token)))}
	for shift := range 3 { // base64 of a longer text that holds it
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + token))
		texts = append(texts, []byte(encoded[4:len(encoded)-4]))
	}
	for _, text := range texts {
		if bytes.Contains(said.Bytes(), text) {
			t.Errorf("the build says the token")
		}
	}
	for _, folder := range []string{stateDir, out} {
		found, read := holders(t, folder, texts...)
		control, _ := holders(t, folder, []byte(marker))
		t.Logf("%s: %d files read, %d hold the token, %d a text of the archive", folder, read, len(found), len(control))
		if len(found) > 0 {
			t.Errorf("the token is in %q", found)
		}
		if len(control) == 0 {
			t.Errorf("%s: the archive's text is not found: the search is blind", folder)
		}
	}
	history, err := shared.Client.ControlClient().ListenBuildHistory(t.Context(), &controlapi.BuildHistoryRequest{EarlyExit: true})
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for {
		event, err := history.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		records++
		for _, text := range texts {
			if strings.Contains(fmt.Sprint(event), string(text)) {
				t.Errorf("the history holds the token: %v", event)
			}
		}
	}
	if records == 0 {
		t.Error("the history is empty: the search is blind")
	}
	t.Logf("history: %d records", records)
}

// A server that wants another token is told of in one line, without the token.
func TestTokenRefused(t *testing.T) {
	token := "wrong-token"
	t.Setenv("TOKEN", token)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	defer server.Close()
	_, said, err := run(t, Request{
		Path: newProject(t, sdk.MCUXpresso), Target: image.Target{Board: "imx8m-mini"},
		SDKArchive: server.URL, Secrets: []string{"id=nxp_token,env=TOKEN"},
	})
	if err == nil || !strings.Contains(err.Error(), "fetch-archive") || !strings.Contains(said, "error: 401") || strings.Contains(said, token) {
		t.Errorf("%v\n%s", err, said)
	}
}

// A server that redirects to one without TLS leads to nothing: not even the request
// without the token is sent there.
func TestTokenRedirected(t *testing.T) {
	t.Setenv("TOKEN", "a-token")
	var asked []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked = append(asked, fmt.Sprint(r.URL, r.Header))
	}))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer server.Close()
	_, said, err := run(t, Request{
		Path: newProject(t, sdk.MCUXpresso), Target: image.Target{Board: "imx8m-mini"},
		SDKArchive: server.URL, Secrets: []string{"id=nxp_token,env=TOKEN"},
	})
	if err == nil || !strings.Contains(err.Error(), "fetch-archive") || len(asked) > 0 {
		t.Errorf("%v, the other server was asked %q\n%s", err, asked, said)
	}
}
