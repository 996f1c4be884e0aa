package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/image"
)

// programs puts commands into the search path, which is nothing else: by their names
// what a shell does for them.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		// what it is called with, one argument a line
		text := fmt.Sprintf("#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done >>%q\necho >>%[1]q\n%s\n", dir+"/"+name+".log", script)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("CONTAINERD_NAMESPACE", "")
	return dir
}

const (
	docker = `case $1 in
save) case $2 in hello*) echo docker:$2;; *) echo "Error response from daemon: reference does not exist" >&2; exit 1;; esac;;
images) echo hello:2; echo hello:1; echo "<none>:<none>";;
*) exit 9;;
esac`
	noDocker = `echo "warning: one thing" >&2; printf 'Cannot connect to the Docker daemon.\n' >&2; exit 1`
	ctr      = `case "$*" in
"namespaces ls -q") echo default; echo k8s.io;;
"-n default images ls -q") echo docker.io/library/hello:latest; echo odd;;
"-n k8s.io images ls -q") echo ghcr.io/a/b:1;;
"-n default images export --local --all-platforms - docker.io/library/hello:latest") echo all;;
"-n default images export --local --all-platforms - odd") echo half; echo "content digest sha256:00: not found" >&2; exit 1;;
"-n default images export --local - odd") echo own;;
"-n k8s.io images export"*) echo "ctr: no space" >&2; exit 1;;
*) echo "ctr: unexpected $*" >&2; exit 9;;
esac`
	// ctr of containerd 1.6, which does not know --local
	oldCtr = `case "$*" in
*--local*) echo "Incorrect Usage"; echo "ctr: flag provided but not defined: -local" >&2; exit 1;;
"namespaces ls -q") echo default;;
"-n default images ls -q") echo docker.io/library/hello:latest; echo odd;;
"-n default images export --all-platforms - docker.io/library/hello:latest") echo all;;
"-n default images export - odd") echo own;;
*) echo "ctr: unexpected $*" >&2; exit 9;;
esac`
	podman = `case $1 in save) for a; do :; done; case $a in fw) echo podman:$a;; *) echo "Error: $a: image not known" >&2; exit 125;; esac;; images) ;; esac`
)

func TestSave(t *testing.T) {
	all := map[string]string{"docker": docker, "ctr": ctr, "podman": podman}
	for name, c := range map[string]struct {
		programs     map[string]string
		engine, name string
		want, err    string
	}{
		"docker":           {all, image.Docker, "hello:1", "docker:hello:1", ""},
		"podman":           {all, image.Podman, "fw", "podman:fw", ""},
		"containerd":       {all, image.Containerd, "hello", "all", ""},
		"its own platform": {all, image.Containerd, "default/odd", "own", ""},
		"old containerd":   {map[string]string{"ctr": oldCtr}, image.Containerd, "hello", "all", ""},
		"old, platform":    {map[string]string{"ctr": oldCtr}, image.Containerd, "odd", "own", ""},
		"any: Docker":      {all, "", "hello", "docker:hello", ""},
		"any: containerd":  {all, "", "odd", "own", ""},
		"any: podman":      {all, "", "fw", "podman:fw", ""},
		"any: one alone":   {map[string]string{"podman": podman}, "", "fw", "podman:fw", ""},
		"Docker is down":   {map[string]string{"docker": noDocker, "podman": podman}, "", "fw", "podman:fw", ""},

		"docker has not":   {all, image.Docker, "none", "", "docker save none: Error response from daemon: reference does not exist (docker has hello:1, hello:2)"},
		"podman has not":   {all, image.Podman, "none", "", "podman save --quiet --format oci-archive none: Error: none: image not known (podman has no images)"},
		"ctr has not":      {all, image.Containerd, "none", "", "no image docker.io/library/none:latest in containerd's namespace default (it has docker.io/library/hello:latest, odd)"},
		"ctr fails":        {all, image.Containerd, "k8s.io/ghcr.io/a/b:1", "", "ctr -n k8s.io images export --local --all-platforms - ghcr.io/a/b:1: ctr: no space"},
		"not installed":    {nil, image.Docker, "hello", "", "docker is not in PATH"},
		"none installed":   {nil, "", "hello", "", "no such file or folder, and no engine to ask: none of docker, ctr, podman is in PATH"},
		"daemon is down":   {map[string]string{"docker": noDocker}, image.Docker, "hello", "", "docker save hello: Cannot connect to the Docker daemon."},
		"none has":         {map[string]string{"docker": noDocker, "podman": podman}, "", "none", "", "no such file or folder, and no engine has it: docker save none: Cannot connect to the Docker daemon.; podman save"},
		"an option":        {all, image.Docker, "--output=x", "", "it starts with -"},
		"a second option":  {all, image.Containerd, "default/-x", "", "no image docker.io/default/-x:latest in"},
		"says nothing":     {map[string]string{"docker": "exit 3"}, image.Docker, "hello", "", "docker save hello: exit status 3"},
		"escape sequences": {map[string]string{"docker": `printf 'bad \033[2Jname\r\n' >&2; exit 1`}, image.Docker, "hello", "", "docker save hello: bad [2Jname"},
	} {
		t.Run(name, func(t *testing.T) {
			programs(t, c.programs)
			f, err := Save(t.Context(), c.engine, c.name)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			b, err := io.ReadAll(io.NewSectionReader(f, 0, 1000))
			if err != nil || strings.TrimSpace(string(b)) != c.want {
				t.Errorf("%q, %v, want %q", b, err, c.want)
			}
		})
	}
}

// TestArguments: a name is one argument, whatever is in it.
func TestArguments(t *testing.T) {
	dir := programs(t, map[string]string{"docker": docker})
	const odd = "hello; touch $HOME/x `id` 'a' *"
	f, err := Save(t.Context(), image.Docker, odd)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	said, err := os.ReadFile(dir + "/docker.log")
	if err != nil || string(said) != "save\n"+odd+"\n\n" {
		t.Errorf("docker was called with %q, %v", said, err)
	}
}

// TestNothingLeft: what was written has no name, and is closed with an error.
func TestNothingLeft(t *testing.T) {
	programs(t, map[string]string{"docker": docker})
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	f, err := Save(t.Context(), image.Docker, "hello")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	t.Setenv("TMPDIR", filepath.Join(tmp, "none")) // in memory then
	g, err := Save(t.Context(), image.Docker, "hello")
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
}

func TestLimit(t *testing.T) {
	programs(t, map[string]string{"docker": "while :; do echo 0123456789abcdef0123456789abcdef; done"})
	dst, err := newFile()
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	dst.left = 1 << 20
	err = run(t.Context(), dst, time.Minute, "docker", "save", "endless")
	var limit *image.LimitError
	if !errors.As(err, &limit) || !strings.Contains(err.Error(), "docker save endless: more than 1073741824 bytes") {
		t.Errorf("error %v", err)
	}
	if info, err := dst.Stat(); err != nil || info.Size() > 1<<20 {
		t.Errorf("%v bytes, %v", info.Size(), err)
	}
	if _, err := list(t.Context(), "docker"); !errors.As(err, &limit) {
		t.Errorf("a list without end: %v", err)
	}
}

func TestCancel(t *testing.T) {
	programs(t, map[string]string{"docker": "exec /bin/sleep 100"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	before := time.Now()
	if _, err := Save(ctx, "", "hello"); !errors.Is(err, context.DeadlineExceeded) || time.Since(before) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(before))
	}
}

// TestSilence: a command may take long, but not say nothing for long.
func TestSilence(t *testing.T) {
	programs(t, map[string]string{"docker": `case $1 in
hangs) exec /bin/sleep 100;;
talks) for n in 1 2 3 4 5 6 7 8; do echo $n; /bin/sleep 0.25; done;;
esac`})
	const silence = 1500 * time.Millisecond
	before := time.Now()
	err := run(t.Context(), io.Discard, silence, "docker", "hangs")
	if err == nil || err.Error() != "docker hangs: no answer for 1.5s" || time.Since(before) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(before))
	}
	if err := run(t.Context(), io.Discard, silence, "docker", "talks"); err != nil {
		t.Error(err)
	}
}

func TestFullName(t *testing.T) {
	for name, want := range map[string]string{
		"hello":               "docker.io/library/hello:latest",
		"hello:1":             "docker.io/library/hello:1",
		"me/hello":            "docker.io/me/hello:latest",
		"ghcr.io/me/hello:1":  "ghcr.io/me/hello:1",
		"localhost/hello":     "localhost/hello:latest",
		"registry:5000/hello": "registry:5000/hello:latest",
		"hello@sha256:0a":     "docker.io/library/hello@sha256:0a",
	} {
		if got := fullName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
