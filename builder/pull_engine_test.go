//go:build engine

package builder

import (
	"fmt"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/dockerfiles"
	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/sdk"
)

// gitServer serves the repositories below a folder, as GitHub does: any commit can
// be fetched by its name.
type gitServer struct {
	t           *testing.T
	folder, url string
}

func newGitServer(t *testing.T) *gitServer {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	server := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + folder, "GIT_HTTP_EXPORT_ALL=1"},
	})
	t.Cleanup(server.Close)
	return &gitServer{t: t, folder: folder, url: server.URL}
}

// add makes a repository of the files below from and returns its commit.
func (s *gitServer) add(name, from string, more map[string]string) (commit string) {
	s.t.Helper()
	dir := filepath.Join(s.folder, name)
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		s.t.Fatal(err)
	}
	for file, text := range more {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			s.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	git("add", "-A")
	git("commit", "-q", "-m", "all")
	git("config", "uploadpack.allowAnySHA1InWant", "true")
	return git("rev-parse", "HEAD")
}

// project is a line of a west manifest.
func (s *gitServer) project(name, path, commit string) string {
	return fmt.Sprintf("  - name: %s\n    url: %s/%s\n    revision: %s\n    path: %s\n", name, s.url, name, commit, path)
}

// An SDK that was pulled builds without network and without any named context. What
// is fetched comes from a Git server of this machine, in the place of GitHub.
func TestPullSDK(t *testing.T) {
	t.Setenv("HYBRID_CACHE", t.TempDir())
	server := newGitServer(t)
	west := server.add("west", "testdata/west", nil)
	hal := server.add("hal_nxp", "testdata/stm32cube/Drivers/STM32MP1xx_HAL_Driver", nil)
	examples := server.add("mcux-sdk-examples", "testdata/mcuxpresso/examples", nil)
	for _, c := range []struct {
		sdk, pin, from string
		manifest       string
		want           string // a file that fetching must bring
	}{
		{
			sdk.Zephyr, "ZEPHYR", "testdata/zephyr/zephyr",
			server.project("hal_nxp", "modules/hal/nxp", hal) + server.project("hal_other", "x", "0"), "modules/hal/nxp/Inc/stm32mp1xx_hal.h",
		},
		{
			sdk.MCUXpresso, "MCUXPRESSO", "testdata/mcuxpresso/core",
			server.project("mcux-sdk-examples", "examples", examples) + server.project("wifi_nxp", "x", "0"), "examples/evkmimx8mm/demo_apps/hello_world/hello_world.c",
		},
		{sdk.STM32Cube, "STM32CUBEMP1", "testdata/stm32cube", "", "Drivers/STM32MP1xx_HAL_Driver/Src/stm32mp1xx_hal.c"},
		{sdk.BareMetal, "", "", "", ""},
	} {
		t.Run(c.sdk, func(t *testing.T) {
			pull := Request{SDK: c.sdk, Contexts: []string{"toolchain=oci-layout://" + os.Getenv("HYBRID_SDK_BASE")}, Progress: "quiet", Stderr: t.Output()}
			if c.pin != "" {
				files := map[string]string{}
				if c.manifest != "" {
					files["west.yml"] = "manifest:\n  projects:\n" + c.manifest
				}
				commit := server.add(strings.ToLower(c.pin), c.from, files)
				pull.BuildArgs = []string{
					c.pin + "_URL=" + server.url + "/" + strings.ToLower(c.pin), c.pin + "_COMMIT=" + commit,
					"WEST_URL=" + server.url + "/west", "WEST_COMMIT=" + west,
				}
			}
			dest, err := PullFolder(c.sdk)
			if err != nil {
				t.Fatal(err)
			}
			if err := pullOn(t.Context(), pull, dest, openShared); err != nil {
				t.Fatal(err)
			}
			if folder, ok := sdk.Pulled(c.sdk, dockerfiles.Version(c.sdk)); !ok || folder != dest {
				t.Fatalf("it is in %s, looked for in %s", dest, folder)
			}
			if got, want := names(t, dest), strings.Join(sdk.Stages(c.sdk), " "); len(got) != len(want) {
				t.Errorf("pulled: %s, want %s", got, want)
			}
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(dest), ".*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %s, %v", left, err)
			}
			if c.want != "" && !inLayer(t, filepath.Join(dest, "sdk"), c.want) {
				t.Errorf("the SDK that was pulled has no %s", c.want)
			}
			file := filepath.Join(t.TempDir(), "a.tar")
			var said strings.Builder
			_, err = buildOn(t.Context(), Request{
				Path: newProject(t, c.sdk), Target: image.Target{Board: boardOf[c.sdk]}, Steps: Steps{Network: "none"}, NoCache: true,
				Outputs: []string{"type=oci,dest=" + file}, Progress: "plain", Stderr: &said,
			}, openShared)
			if err != nil {
				t.Fatalf("%v\n%s", err, &said)
			}
			checkImage(t, only(t, file), image.Target{Board: boardOf[c.sdk], MCU: "cortex-m4"}, "/blink.elf")
			if want := "using the SDK " + c.sdk + " pulled into " + dest + "\n"; !strings.HasPrefix(said.String(), want) {
				t.Errorf("said %q, want %q first", said.String(), want)
			}
		})
	}
}

// inLayer reports whether the image in a layout has a file of this name.
func inLayer(t *testing.T, layout, name string) bool {
	t.Helper()
	found, read := holders(t, filepath.Join(layout, "blobs"), []byte(name))
	if read == 0 {
		t.Errorf("%s has no blob", layout)
	}
	return len(found) > 0
}

func TestPullSDKRefuses(t *testing.T) {
	dir := project(t, map[string]string{"mine": ""})
	err := pullOn(t.Context(), Request{SDK: sdk.Zephyr}, dir, openShared)
	if err == nil || !strings.Contains(err.Error(), "is there and holds no SDK zephyr: name a new folder") || names(t, dir) != "mine" {
		t.Errorf("%v; left: %s", err, names(t, dir))
	}
	dest := filepath.Join(t.TempDir(), "new")
	err = pullOn(t.Context(), Request{
		SDK: sdk.STM32Cube, Contexts: []string{"toolchain=oci-layout://" + os.Getenv("HYBRID_SDK_BASE")},
		BuildArgs: []string{"STM32CUBEMP1_URL=http://127.0.0.1:1/x"}, Progress: "quiet", Stderr: t.Output(),
	}, dest, openShared)
	if err == nil || !strings.Contains(err.Error(), "fetch-sdk") || names(t, filepath.Dir(dest)) != "" {
		t.Errorf("%v; left: %s", err, names(t, filepath.Dir(dest)))
	}
}
