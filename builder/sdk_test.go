package builder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/sdk"
)

// prepared is what a request becomes before a BuildKit is asked for.
func prepared(t *testing.T, r Request) (*build, error) {
	t.Helper()
	var said strings.Builder
	r.Stderr = &said
	r.defaults()
	b, err := prepare(&r)
	if err == nil {
		t.Cleanup(b.close)
	}
	return b, err
}

func TestSDKArguments(t *testing.T) {
	t.Setenv("HYBRID_CACHE", t.TempDir())
	dir := t.TempDir()
	for _, c := range []struct {
		name        string
		request     Request
		board, chip string
	}{
		{"Zephyr", Request{SDK: sdk.Zephyr, Target: image.Target{Board: "imx8m-mini"}}, "imx8mm_evk/mimx8mm6/m4", ""},
		{"MCUXpresso", Request{SDK: sdk.MCUXpresso, Target: image.Target{Board: "imx8mm-evk"}}, "evkmimx8mm", "MIMX8MM6"},
		{"another chip", Request{
			SDK: sdk.MCUXpresso, Target: image.Target{Board: "imx8m-mini"}, BuildArgs: []string{"SDK_DEVICE=MIMX8MM1"},
		}, "evkmimx8mm", "MIMX8MM1"},
		{"another board", Request{
			SDK: sdk.Zephyr, Target: image.Target{Board: "qemu-virt"}, BuildArgs: []string{"SDK_BOARD=mine"},
		}, "mine", ""},
	} {
		c.request.Path = dir
		b, err := prepared(t, c.request)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if board, chip := b.variants[0].attrs["build-arg:SDK_BOARD"], b.variants[0].attrs["build-arg:SDK_DEVICE"]; board != c.board || chip != c.chip {
			t.Errorf("%s: board %s, chip %s", c.name, board, chip)
		}
		if b.sources.has("sdk") {
			t.Errorf("%s: hybrid holds the SDK", c.name)
		}
	}
	_, err := prepared(t, Request{Path: dir, SDK: sdk.Zephyr, Target: image.Target{Board: "qemu-virt"}})
	var unsupported *sdk.UnsupportedError
	if !errors.As(err, &unsupported) {
		t.Errorf("%v", err)
	}
}

func TestParseArchive(t *testing.T) {
	sum := strings.Repeat("0A", 32)
	for flag, want := range map[string]sdkArchive{
		"SDK_2.zip":                          {file: "SDK_2.zip"},
		"a,b.tar.gz":                         {file: "a,b.tar.gz"},
		"a.zip,sha256=" + sum:                {file: "a.zip", sha256: strings.ToLower(sum)},
		"https://x/y.zip?a=b":                {url: "https://x/y.zip?a=b"},
		"https://x/y,z.zip,sha256=" + sum:    {url: "https://x/y,z.zip", sha256: strings.ToLower(sum)},
		"http://127.0.0.1:80/y":              {url: "http://127.0.0.1:80/y"},
		"http://[::1]/y":                     {url: "http://[::1]/y"},
		"a,sha256=" + sum + ",sha256=" + sum: {file: "a,sha256=" + sum, sha256: strings.ToLower(sum)},
	} {
		if got, err := parseArchive(flag); err != nil || *got != want {
			t.Errorf("%s: %v, %v", flag, got, err)
		}
	}
	for flag, want := range map[string]string{
		"":                            "want FILE or URL",
		",sha256=" + sum:              "want FILE or URL",
		"a,sha256=12":                 "sha256=12 is not 64 hexadecimal digits",
		"a,sha256=" + sum + "0":       "is not 64 hexadecimal digits",
		"a,sha256=" + "x" + sum[1:]:   "is not 64 hexadecimal digits",
		"http://nxp.com/a.zip":        "http:// shows the token",
		"http://localhost.evil.com/a": "http:// shows the token",
		"ftp://localhost/a":           "ftp:// shows the token",
		"https://token@nxp.com/a":     "has a user name",
		"https://%zz/tellnobody":      "invalid URL escape",
	} {
		_, err := parseArchive(flag)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "tellnobody") {
			t.Errorf("%s: %v, want %q", flag, err, want)
		}
	}
}

func TestAddArchive(t *testing.T) {
	t.Setenv("HYBRID_CACHE", t.TempDir())
	dir := t.TempDir()
	file := filepath.Join(dir, "SDK[1].zip")
	if err := os.WriteFile(file, []byte("PK"), 0o644); err != nil {
		t.Fatal(err)
	}
	target := image.Target{Board: "imx8m-mini"}
	b, err := prepared(t, Request{Path: dir, SDK: sdk.MCUXpresso, Target: target, SDKArchive: file})
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	if err := b.sources.mounts[archiveContext].Walk(context.Background(), "", func(name string, _ fs.DirEntry, err error) error {
		files = append(files, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(files, " "); got != "SDK[1].zip" || b.sources.attrs["context:archive"] != "local:archive" || b.variants[0].attrs["build-arg:SDK_FROM"] != "archive" {
		t.Errorf("%s, %v", got, b.variants[0].attrs)
	}
	for _, c := range []struct {
		want    string
		request Request
	}{
		{"--sdk-archive is for --sdk mcuxpresso, this build uses zephyr", Request{SDK: sdk.Zephyr, SDKArchive: file}},
		{"an SDK can come from one place", Request{SDK: sdk.MCUXpresso, SDKArchive: file, Contexts: []string{"sdk=" + dir}}},
		{"no such file or directory", Request{SDK: sdk.MCUXpresso, SDKArchive: dir + "/nothing"}},
		{"is a folder: use --build-context sdk=", Request{SDK: sdk.MCUXpresso, SDKArchive: dir}},
		{"is not a file", Request{SDK: sdk.MCUXpresso, SDKArchive: "/dev/null"}},
	} {
		c.request.Path, c.request.Target = dir, target
		if _, err := prepared(t, c.request); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// What was pulled is used, but not beside what the user names.
func TestUsePulled(t *testing.T) {
	cache, dir := t.TempDir(), t.TempDir()
	t.Setenv("HYBRID_CACHE", cache)
	folder, err := sdk.PullFolder(sdk.Zephyr, "v3.7.0")
	if err != nil || !strings.HasPrefix(folder, cache) {
		t.Fatal(folder, err)
	}
	for _, stage := range sdk.Stages(sdk.Zephyr) {
		if err := os.CopyFS(filepath.Join(folder, stage), os.DirFS(layoutFolder(t, manifest(digestA, "")))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name       string
		request    Request
		tools, sdk bool
	}{
		{"both", Request{}, true, true},
		{"another SDK", Request{Contexts: []string{"sdk=" + dir}}, true, false},
		{"another compiler", Request{Contexts: []string{"toolchain=docker-image://x"}}, false, true},
		{"another version", Request{BuildArgs: []string{"ZEPHYR_COMMIT=0"}}, false, false},
		{"an argument", Request{BuildArgs: []string{"EXAMPLE=x"}}, true, true},
	} {
		c.request.Path, c.request.SDK, c.request.Target = dir, sdk.Zephyr, image.Target{Board: "imx8m-mini"}
		b, err := prepared(t, c.request)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if tools, s := b.sources.attrs["context:tools"], b.sources.attrs["context:sdk"]; strings.HasPrefix(tools, "oci-layout://") != c.tools || strings.HasPrefix(s, "oci-layout://") != c.sdk {
			t.Errorf("%s: tools=%s sdk=%s", c.name, tools, s)
		}
	}
}
