//go:build engine

package builders

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/hybrid-containers/hybrid/test/daemons"
)

const project = "../../examples/hello_world"

var hybrid string // the command, built

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	bin, err := os.MkdirTemp("", "hybrid-bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	hybrid = filepath.Join(bin, "hybrid")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", hybrid, "../../cmd/hybrid")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	if err := os.Chmod(bin, 0o755); err != nil { // for the user without rights
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// base is the OCI layout of the toolchain.
func base(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("HYBRID_SDK_BASE")
	if dir == "" {
		t.Fatal("HYBRID_SDK_BASE must name the OCI layout that hybrid sdk base makes")
	}
	return dir
}

// builds is how a test calls hybrid.
type builds struct {
	env  []string // besides those that name no builder
	wrap func(args []string) *exec.Cmd
	base string
}

func (b builds) command(args ...string) *exec.Cmd {
	args = append([]string{hybrid}, args...)
	cmd := exec.Command(args[0], args[1:]...)
	if b.wrap != nil {
		cmd = b.wrap(args)
	}
	cmd.Env = append(os.Environ(), "HYBRID_BUILDER=", "BUILDKIT_HOST=", "DOCKER_HOST=", "DOCKER_CONTEXT=", "DOCKER_CONFIG=/nonexistent")
	cmd.Env = append(cmd.Env, b.env...)
	return cmd
}

// built is what a build says of its image.
type built struct {
	manifest, config string
	said             string
	took             time.Duration
}

func (b *built) line() string { line, _, _ := strings.Cut(b.said, "\n"); return line }

// build builds the example for the i.MX8M Mini.
func (b builds) build(t *testing.T, args ...string) built {
	t.Helper()
	return b.buildIn(t, "", append([]string{"--board", "imx8m-mini"}, args...)...)
}

// buildIn builds the example from the folder dir; empty is the test's own.
func (b builds) buildIn(t *testing.T, dir string, args ...string) built {
	t.Helper()
	metadata := filepath.Join(t.TempDir(), "metadata.json")
	if err := os.Chmod(filepath.Dir(metadata), 0o777); err != nil { // for the user without rights
		t.Fatal(err)
	}
	if b.base == "" {
		b.base = base(t)
	}
	path, err := filepath.Abs(project)
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"build", "--progress", "plain", "--metadata-file", metadata, "--build-context", "toolchain=oci-layout://" + b.base,
	}, args...)
	cmd := b.command(append(args, path)...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &said)
	}
	result := built{said: said.String(), took: time.Since(began)}
	text, err := os.ReadFile(metadata)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	result.manifest, _ = m["containerimage.digest"].(string)
	result.config, _ = m["containerimage.config.digest"].(string)
	if !digest.MatchString(result.manifest) || !digest.MatchString(result.config) {
		t.Fatalf("no digests in %s", text)
	}
	return result
}

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// mission is the output as people write it for other builders, where the mcu is lost and
// the board is too.
const mission = "type=docker,name=target,annotation[linux/arm64].board=imx8m-mini,mcu=cortex-m4"

// The same inputs give the same image, whoever builds it.
func TestSameImage(t *testing.T) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "builder\tmanifest\tconfig\tfirst\tagain\tsaid")
	var want built
	for _, c := range []struct {
		name  string
		start func(t *testing.T, dir string) builds
		said  string // the first line of the build
		// inDocker checks the image that the build left in the engine, if it is one
		inDocker func(t *testing.T, i dockerImage, b built)
	}{
		{
			name:  "embedded",
			start: func(_ *testing.T, dir string) builds { return builds{env: []string{"HYBRID_STATE=" + dir + "/state"}} },
			said:  `^building with the embedded BuildKit v[0-9.]+ \(.*/state\)$`,
		},
		{
			name: "served",
			start: func(t *testing.T, dir string) builds {
				daemons.Start(t, dir+"/state/hybrid.sock", nil, nil, hybrid, "builder", "serve", "--idle", "0", "--state", dir+"/state")
				return builds{env: []string{"HYBRID_STATE=" + dir + "/state"}}
			},
			said: `^building with the served BuildKit v[0-9.]+ \(unix://.*/state/hybrid.sock\)$`,
		},
		{
			name:  "rootless",
			start: rootless,
			said:  `^building with the embedded BuildKit v[0-9.]+ in rootlesskit \(.*/state\)$`,
		},
		{
			name:  "rootless served",
			start: rootlessServed,
			said:  `^building with the served BuildKit v[0-9.]+ \(unix://.*/state/hybrid.sock\)$`,
		},
		{
			name: "buildkitd",
			start: func(t *testing.T, dir string) builds {
				return builds{env: []string{"BUILDKIT_HOST=" + daemons.Buildkitd(t, dir)}}
			},
			said: `^building with BuildKit [0-9.]+ at unix://.*/buildkitd.sock$`,
		},
		{
			name: "Docker",
			start: func(t *testing.T, dir string) builds {
				return builds{env: []string{"DOCKER_HOST=" + daemons.Docker(t, dir, "dockerd", daemons.Dir(t), nil).Address()}}
			},
			said: `^building with Docker \S+ at unix://.*/docker.sock$`,
			inDocker: func(t *testing.T, i dockerImage, b built) {
				if i.ID != b.manifest {
					t.Errorf("the engine has %s, want the manifest %s", i.ID, b.manifest)
				}
			},
		},
		{
			name: "old Docker",
			start: func(t *testing.T, dir string) builds {
				return builds{env: []string{
					"DOCKER_HOST=" + daemons.Docker(t, dir, "debian/usr/sbin/dockerd", daemons.Dir(t), nil).Address(), "HYBRID_STATE=" + dir + "/state",
				}}
			},
			said: `^building with the embedded BuildKit v[0-9.]+ \(.*/state\): Docker \S+ at unix://.*/docker.sock has no containerd image store$`,
			inDocker: func(t *testing.T, i dockerImage, b built) {
				if i.ID != b.config {
					t.Errorf("the engine has %s, want the config %s", i.ID, b.config)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Cleanup(func() { daemons.WantNothingLeft(t, dir) }) // after the daemons have ended
			b := c.start(t, dir)
			out := t.TempDir()
			if err := os.Chmod(out, 0o777); err != nil { // for the user without rights
				t.Fatal(err)
			}
			first := b.build(t, "--output", "type=oci,dest="+out+"/first.tar")
			again := b.build(t, "--output", "type=oci,dest="+out+"/again.tar")
			fmt.Fprintf(w, "%s\t%s\t%s\t%d ms\t%d ms\t%s\n", c.name, first.manifest[:19], first.config[:19],
				first.took.Milliseconds(), again.took.Milliseconds(), strings.ReplaceAll(first.line(), dir, "…"))
			if !regexp.MustCompile(c.said).MatchString(first.line()) {
				t.Errorf("said %q, want %s", first.line(), c.said)
			}
			if want.manifest == "" {
				want = first
			}
			for _, got := range []built{first, again} {
				if got.manifest != want.manifest || got.config != want.config {
					t.Errorf("manifest %s, config %s, want %s and %s", got.manifest, got.config, want.manifest, want.config)
				}
			}
			if a, b := read(t, out+"/first.tar"), read(t, out+"/again.tar"); !bytes.Equal(a, b) {
				t.Error("the second archive differs from the first")
			}
			said := b.buildIn(t, out, "--output", mission)
			if said.manifest != want.manifest {
				t.Errorf("%s makes %s, want %s", mission, said.manifest, want.manifest)
			}
			if c.inDocker == nil {
				index := extract(t, out+"/target.tar", "index.json")
				if !strings.Contains(index, want.manifest) || !strings.Contains(index, `"docker.io/library/target:latest"`) {
					t.Errorf("target.tar holds %s", index)
				}
				manifest := extract(t, out+"/target.tar", "blobs/sha256/"+strings.TrimPrefix(want.manifest, "sha256:"))
				if !regexp.MustCompile(`"annotations": \{\s*"board": "imx8m-mini",\s*"mcu": "cortex-m4"\s*\}`).MatchString(manifest) {
					t.Errorf("the manifest is %s", manifest)
				}
				return
			}
			c.inDocker(t, inspect(t, dockerHost(b), "target:latest"), said)
			loaded := b.build(t, "--tag", "hello:1", "--iidfile", out+"/iid")
			if loaded.config != want.config {
				t.Errorf("config %s, want %s", loaded.config, want.config)
			}
			i := inspect(t, dockerHost(b), "hello:1")
			c.inDocker(t, i, loaded)
			if id := string(read(t, out+"/iid")); id != i.ID {
				t.Errorf("--iidfile has %s, the engine %s", id, i.ID)
			}
			if i.Architecture != "arm64" || i.Config.Labels["board"] != "imx8m-mini" || i.Config.Labels["mcu"] != "cortex-m4" {
				t.Errorf("the engine has %+v", i)
			}
		})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &table)
}

// extract is a file of a tar archive.
func extract(t *testing.T, archive, name string) string {
	t.Helper()
	out, err := exec.Command("tar", "-xOf", archive, name).Output()
	if err != nil {
		t.Fatalf("%s in %s: %v", name, archive, err)
	}
	return string(out)
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func dockerHost(b builds) string {
	for _, e := range b.env {
		if host, ok := strings.CutPrefix(e, "DOCKER_HOST="); ok {
			return host
		}
	}
	return ""
}

// nobody is a user without rights.
const nobody = 65534

// rootless builds as nobody, who has subordinate IDs for as long as the command runs:
// they are written into an /etc that only the command sees.
func rootless(t *testing.T, dir string) builds {
	t.Helper()
	for _, name := range []string{"etc", "work", "home", "base"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{dir, filepath.Dir(dir)} { // of testing, for this user alone
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ids := fmt.Appendf(nil, "nobody:%d:65536\n", 1<<20)
	for _, name := range []string{"etc/subuid", "etc/subgid"} {
		if err := os.WriteFile(filepath.Join(dir, name), ids, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// the layout is locked while it is read: nobody needs one of their own
	copied := filepath.Join(dir, "base")
	if err := os.CopyFS(copied, os.DirFS(base(t))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"base", "home"} {
		if out, err := exec.Command("chown", "-R", strconv.Itoa(nobody), filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return builds{
		base: copied,
		env:  []string{"HOME=" + dir + "/home", "HYBRID_STATE=" + dir + "/home/state", "XDG_RUNTIME_DIR="},
		wrap: func(args []string) *exec.Cmd {
			script := `mount -t overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/work" none /etc && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`
			cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, dir}, args...)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			return cmd
		},
	}
}

// rootlessServed builds as nobody with the server that nobody keeps.
func rootlessServed(t *testing.T, dir string) builds {
	t.Helper()
	b := rootless(t, dir)
	serve := b.command("builder", "serve", "--idle", "0")
	daemons.Start(t, dir+"/home/state/hybrid.sock", serve.SysProcAttr, serve.Env, serve.Path, serve.Args[1:]...)
	b.wrap = func(args []string) *exec.Cmd { // who is served needs no subordinate IDs
		return exec.Command("setpriv", append([]string{"--reuid", strconv.Itoa(nobody), "--regid", strconv.Itoa(nobody), "--clear-groups"}, args...)...)
	}
	return b
}
