package builder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// Scripts of engines' commands.
const (
	engineGone  = "echo cannot connect >&2; exit 1\n"
	engineHangs = "exec sleep 60\n"
)

// engineTakes is an engine that answers and writes what it loads into the file name.
func engineTakes(name string) string {
	return "case \"$*\" in *load*|*import*) cat >" + name + "; echo Loaded; echo 'time=\"…\" level=warning' >&2 ;; *) echo 1.0 ;; esac\n"
}

// engineFails is an engine that answers, and with this once it has the first byte.
func engineFails(with string) string {
	return "case \"$*\" in *load*|*import*) head -c1 >/dev/null; " + with + " ;; *) echo 1.0 ;; esac\n"
}

// fakeEngines makes these the only engines: commands by name, and no Docker socket.
func fakeEngines(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for _, tool := range []string{"cat", "head", "sleep"} {
		if err := os.Symlink("/bin/"+tool, filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("DOCKER_CONTEXT", "")
	t.Setenv("DOCKER_HOST", "unix://"+dir+"/nobody.sock")
}

// fakeDockerAPI makes a Docker Engine that is reached by its socket alone.
func fakeDockerAPI(t *testing.T, info string, load http.HandlerFunc) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("API-Version", "1.45") })
	answer := func(path, text string) {
		mux.HandleFunc("/v1.45/"+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	answer("version", `{"Version":"20.10.24"}`)
	answer("info", info)
	mux.HandleFunc("/v1.45/images/load", load)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+l.Addr().String())
}

// openLoad opens the output of --load=ENGINE, of an image named x.
func openLoad(t *testing.T, r *Request, load string) (*destination, error) {
	t.Helper()
	r.Load, r.Path = load, "."
	if r.Tags == nil {
		r.Tags = []string{"x"}
	}
	o, err := r.options()
	if err != nil {
		t.Fatal(err)
	}
	outputs, err := r.parseOutputs(o)
	if err != nil || len(outputs) != 1 {
		t.Fatalf("%d outputs, %v", len(outputs), err)
	}
	return r.open(t.Context(), outputs[0], &buildkit.BuildKit{Kind: buildkit.Embedded})
}

func TestLoadOrder(t *testing.T) {
	dir := t.TempDir()
	takes := func(name string) string { return engineTakes(dir + "/" + name) }
	for _, c := range []struct {
		name, load          string
		docker, ctr, podman string // "": no such command
		want, note          string
	}{
		{"all answer", "true", takes("docker"), takes("ctr"), takes("podman"), "docker", "Loaded"},
		{"no Docker", "true", "", takes("ctr"), takes("podman"), "ctr", "Loaded image: docker.io/library/x:latest"},
		{"Docker does not answer", "true", engineGone, takes("ctr"), takes("podman"), "ctr", "Loaded image: docker.io/library/x:latest"},
		{"podman alone", "true", engineGone, engineGone, takes("podman"), "podman", "Loaded"},
		{"containerd hangs", "true", "", engineHangs, takes("podman"), "podman", "Loaded"},
		{"named", "podman", takes("docker"), takes("ctr"), takes("podman"), "podman", "Loaded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			scripts := map[string]string{}
			for name, script := range map[string]string{"docker": c.docker, "ctr": c.ctr, "podman": c.podman} {
				if script != "" {
					scripts[name] = script
				}
			}
			fakeEngines(t, scripts)
			began := time.Now()
			d, err := openLoad(t, &Request{}, c.load)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 2*engineAnswers {
				t.Errorf("took %s", took)
			}
			export(t, d, "image")
			if err := d.commit(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, c.want))
			if err != nil || string(text) != "image" || d.note != c.note || names(t, dir) != c.want {
				t.Errorf("loaded %q, %v, note %q, by %s", text, err, d.note, names(t, dir))
			}
			if err := os.Remove(filepath.Join(dir, c.want)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLoadNobody(t *testing.T) {
	fakeEngines(t, map[string]string{"ctr": "echo 'ctr: no\nsuch socket' >&2; exit 1\n", "podman": "exit 0\n"})
	_, err := openLoad(t, &Request{}, "true")
	var usage *UsageError
	if err == nil || errors.As(err, &usage) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{
		"no engine answers (docker: no Docker Engine answers at unix://", "; containerd: ctr: exit status 1: ctr: no such socket; ",
		"podman: podman says nothing)", "dest=FILE",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	fakeEngines(t, nil)
	if _, err = openLoad(t, &Request{}, "podman"); err == nil || !strings.Contains(err.Error(), "(podman: there is no command podman)") {
		t.Errorf("error %v", err)
	}
}

// A Docker Engine that hangs is waited for once, then the next one is asked.
func TestLoadHangs(t *testing.T) {
	fakeEngines(t, map[string]string{"docker": engineHangs, "podman": engineTakes("/dev/null")})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // accepts nobody
	t.Setenv("DOCKER_HOST", "unix://"+l.Addr().String())
	began := time.Now()
	d, err := openLoad(t, &Request{}, "true")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*engineAnswers {
		t.Errorf("took %s", took)
	}
	export(t, d, "image")
	if err := d.commit(); err != nil || d.note != "Loaded" {
		t.Errorf("%v, note %q", err, d.note)
	}
}

// The docker command is not needed where the engine listens.
func TestLoadBySocket(t *testing.T) {
	fakeEngines(t, map[string]string{"ctr": engineTakes("/dev/null")})
	var got string
	fakeDockerAPI(t, "{}", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = string(text)
		_, _ = io.WriteString(w, `{"stream":"Loaded image: x\n"}`)
	})
	for _, load := range []string{"true", "docker"} {
		d, err := openLoad(t, &Request{}, load)
		if err != nil {
			t.Fatal(err)
		}
		export(t, d, "image "+load)
		if err := d.commit(); err != nil || got != "image "+load || d.note != "Loaded image: x" {
			t.Errorf("loaded %q, %v, note %q", got, err, d.note)
		}
	}
}

// An engine that fails while it is given the image: its own words are the error, and a
// file that is written beside is not there.
func TestLoadFails(t *testing.T) {
	large := strings.Repeat("x", 1<<20) // more than a pipe holds
	for _, c := range []struct{ name, text, with, want string }{
		{"disk full", large, "echo no space; echo 'no space\nleft on device' >&2; exit 3", "podman load: exit status 3: no space left on device"},
		{"disk full seen late", "image", "cat >/dev/null; echo no space >&2; exit 3", "podman load: exit status 3: no space"},
		{"killed", large, "kill -9 $$", "podman load: signal: killed"},
		{"killed seen late", "image", "kill -9 $$", "podman load: signal: killed"},
		{"too early", large, "exit 0", "podman load: ended before it had the whole image"},
		{"stuck", large, "exec <&-; exec sleep 60", "podman load: signal: killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeEngines(t, map[string]string{"podman": engineFails(c.with)})
			loaded, err := openLoad(t, &Request{}, "podman")
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			file, _, err := openOutput(t, "type=oci,dest="+dir+"/a.tar")
			if err != nil {
				t.Fatal(err)
			}
			export(t, file, "image")
			w, err := loaded.entry.Output(nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write([]byte(c.text))
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				err = loaded.ownError()
			} else {
				err = commit([]*destination{file, loaded})
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q", err, c.want)
			}
			loaded.abort()
			file.abort()
			if got := names(t, dir); got != "" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

// A Docker Engine that goes away, or refuses, while it is given the image.
func TestLoadFailsBySocket(t *testing.T) {
	fakeEngines(t, nil)
	for want, load := range map[string]http.HandlerFunc{
		"load into Docker at unix://": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 1))
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
		},
		"no space left on device": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 1))
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"message":"no space\nleft on device"}`)
		},
	} {
		fakeDockerAPI(t, "{}", load)
		d, err := openLoad(t, &Request{}, "docker")
		if err != nil {
			t.Fatal(err)
		}
		w, err := d.entry.Output(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, bytes.NewReader(make([]byte, 8<<20))); err == nil {
			t.Error("all was written to an engine that reads one byte")
		}
		if err := d.ownError(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("own error %v, want %q", err, want)
		}
		if err := d.commit(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want %q", err, want)
		}
		d.abort()
	}
}

// What an engine cannot keep is told before anything is built.
func TestLoadRefuses(t *testing.T) {
	two := func() *Request { return &Request{Targets: []string{"imx8m-mini", "qemu-virt"}} }
	packed := two()
	packed.Pack = true
	const store = `{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}`
	zstd := func() *Request { return &Request{Outputs: []string{"type=docker,compression=zstd"}} }
	for _, c := range []struct {
		name   string
		r      *Request
		load   string
		info   string // of a Docker Engine at its socket
		script string // of all commands
		want   string // "": taken
	}{
		{"podman", two(), "podman", "", "echo 4.3", "podman cannot take an index of several targets: put them into one image with --pack"},
		{"podman, packed", packed, "podman", "", "echo 4.3", ""},
		{"containerd", two(), "containerd", "", "echo 2.4", ""},
		{"containerd, no name", &Request{Tags: []string{}}, "containerd", "", "echo 2.4", "containerd keeps no image without a name: add --tag NAME"},
		{"old Docker", two(), "true", "{}", "", "has no containerd image store and cannot take an index of several targets: put them into one image with --pack"},
		{"old Docker, packed", packed, "true", "{}", "", ""},
		{"new Docker", two(), "true", store, "", ""},
		{"old docker command", two(), "docker", "", "echo overlay2", "docker cannot take an index of several targets: put them into one image with --pack"},
		{"new docker command", two(), "docker", "", "echo io.containerd.snapshotter.v1", ""},
		{"zstd, old Docker", zstd(), "docker", "{}", "", "Docker 20.10.24 at unix://"},
		{"zstd, new Docker", zstd(), "docker", store, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeEngines(t, map[string]string{"docker": c.script + "\n", "ctr": c.script + "\n", "podman": c.script + "\n"})
			if c.info != "" {
				fakeDockerAPI(t, c.info, http.NotFound)
			}
			d, err := openLoad(t, c.r, c.load)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("error %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("error %v, want %q", err, c.want)
			case err == nil:
				d.abort()
			}
		})
	}
}

// --load loads what would be loaded anyway once, with what its --output says.
func TestLoadOnce(t *testing.T) {
	for _, c := range []struct {
		outputs []string
		want    string
	}{
		{nil, "docker/podman/"},
		{[]string{"type=docker,compression=zstd"}, "docker/podman/zstd"},
		{[]string{"type=docker,dest=x"}, "docker// docker/podman/"},
		{[]string{"type=oci,dest=x", "type=docker,compression=zstd"}, "oci// docker/podman/zstd"},
	} {
		r := &Request{Outputs: c.outputs, Load: "podman"}
		outputs, err := r.parseOutputs(&options{form: arm64})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range outputs {
			got = append(got, fmt.Sprintf("%s/%s/%s", o.kind, o.load, o.attrs["compression"]))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %v, want %s", c.outputs, got, c.want)
		}
	}
}

// Where there is no store to leave an image in, an output that wants it is an error.
func TestKeptBy(t *testing.T) {
	for _, c := range []struct {
		spec string
		kind buildkit.Kind
		want string
	}{
		{"type=image,name=x", buildkit.Embedded, "type=image without push=true: the embedded BuildKit"},
		{"type=image,name=x", buildkit.Served, "type=image without push=true: the served BuildKit"},
		{"type=image,name=x", buildkit.Docker, ""},
		{"type=image,name=x,push=true", buildkit.Embedded, ""},
		{"type=moby,name=x", buildkit.Embedded, "type=moby: only a Docker Engine that builds"},
		{"type=moby,name=x", buildkit.Served, "type=moby: only a Docker Engine that builds"},
		{"type=moby,name=x", buildkit.Remote, "type=moby: only a Docker Engine that builds"},
		{"type=moby,name=x", buildkit.Docker, ""},
		{"type=cacheonly", buildkit.Embedded, ""},
	} {
		o, err := parseOutput(c.spec, arm64)
		if err != nil {
			t.Fatal(err)
		}
		err = o.keptBy(t.Context(), &buildkit.BuildKit{Kind: c.kind})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s on %s: error %v, want %q", c.spec, c.kind, err, c.want)
		}
	}
}
