package buildkit

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"
)

// TestMain gives Docker's libraries, which read this once, an empty configuration.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "docker")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Setenv("DOCKER_CONFIG", dir); err != nil {
			log.Fatal(err)
		}
		return m.Run()
	}())
}

// noDocker leaves nothing that says where a Docker Engine is but this machine's socket.
func noDocker(t *testing.T) {
	t.Helper()
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CONTEXT", "")
}

// fakeDocker answers as a Docker Engine without BuildKit, and is DOCKER_HOST.
func fakeDocker(t *testing.T, loads http.HandlerFunc) {
	t.Helper()
	noDocker(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("API-Version", "1.45") })
	mux.HandleFunc("/v1.45/version", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"Version":"26.1.0"}`) })
	mux.HandleFunc("/v1.45/images/load", loads)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+l.Addr().String())
}

func TestEngine(t *testing.T) {
	answer := ""
	fakeDocker(t, func(w http.ResponseWriter, r *http.Request) {
		archive, err := io.ReadAll(r.Body)
		if err != nil || string(archive) != "archive" {
			t.Errorf("loaded %q, %v", archive, err)
		}
		_, _ = io.WriteString(w, answer)
	})
	e, err := ConnectDocker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.Version != "26.1.0" || e.Address != os.Getenv("DOCKER_HOST") {
		t.Errorf("%s at %s", e.Version, e.Address)
	}
	answer = `{"stream":"Loaded image: hello:1\n"}`
	if said, err := e.Load(t.Context(), strings.NewReader("archive")); said != "Loaded image: hello:1" || err != nil {
		t.Errorf("said %q, %v", said, err)
	}
	answer = `{"errorDetail":{"message":"no space"},"error":"no space"}`
	if _, err := e.Load(t.Context(), strings.NewReader("archive")); err == nil || !strings.HasSuffix(err.Error(), "docker.sock: no space") {
		t.Errorf("error %v", err)
	}
}

// An engine that cannot build is said to be there, whatever comes then.
func TestAutoSaysWhyNotDocker(t *testing.T) {
	fakeDocker(t, http.NotFound)
	t.Setenv("PATH", t.TempDir()) // nor can the embedded one
	for _, builder := range []string{Auto, UseDocker, ""} {
		_, err := Open(t.Context(), Options{Builder: builder, StateDir: t.TempDir()})
		if err == nil || !errors.Is(err, ErrNeedsRunc) && !errors.Is(err, ErrNeedsRoot) ||
			!strings.Contains(err.Error(), "Docker 26.1.0 at unix://") || !strings.Contains(err.Error(), "has no BuildKit that answers") {
			t.Errorf("--builder %s: error %v", builder, err)
		}
	}
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/nobody.sock")
	_, err := Open(t.Context(), Options{StateDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "no Docker Engine answers at unix://") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if _, err = Open(t.Context(), Options{Builder: UseDocker}); err == nil || strings.Contains(err.Error(), "runc") {
		t.Errorf("error %v, want that of Docker alone", err)
	}
}

func TestConnectDockerFindsContexts(t *testing.T) {
	noDocker(t)
	t.Setenv("DOCKER_CONTEXT", "nowhere")
	if _, err := ConnectDocker(t.Context()); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("error %v, want that there is no context nowhere", err)
	}
	if _, err := os.Stat(dockerSocket()); err == nil {
		return // there is an engine: the rest cannot be said
	}
	t.Setenv("DOCKER_CONTEXT", "")
	if _, err := ConnectDocker(t.Context()); !errors.Is(err, ErrNoDocker) {
		t.Errorf("error %v, want ErrNoDocker", err)
	}
	file := filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	if _, err := ConnectDocker(t.Context()); !errors.Is(err, ErrNoDocker) {
		t.Errorf("with a configuration: error %v, want ErrNoDocker", err)
	}
}

func TestLacks(t *testing.T) {
	for _, c := range []struct {
		labels  map[string]string
		version string
		want    string
	}{
		{nil, "", "no containerd image store"},
		{map[string]string{"org.mobyproject.buildkit.worker.moby.host-gateway-ip": "172.17.0.1"}, "v0.12.5", "no containerd image store"},
		{map[string]string{snapshotterLabel: "overlayfs"}, "v0.12.5", "older than v0.13.0"},
		{map[string]string{snapshotterLabel: "overlayfs"}, "v0.13.0", ""},
		{map[string]string{snapshotterLabel: "overlayfs"}, "v0.33.0-moby", ""},
		{map[string]string{snapshotterLabel: "overlayfs"}, "who knows", ""},
	} {
		w := &client.WorkerInfo{Labels: c.labels, BuildkitVersion: client.BuildkitVersion{Version: c.version}}
		if got := lacks([]*client.WorkerInfo{w}); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%v %s: %q, want %q", c.labels, c.version, got, c.want)
		}
	}
	if lacks(nil) == "" {
		t.Error("an engine without workers lacks nothing")
	}
}

func FuzzReadMessages(f *testing.F) {
	for _, s := range []string{`{"stream":"a\n"}{"stream":"b"}`, `{"errorDetail":{"message":"no"}}`, `{`, ``, `[]`, `{"stream":1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		said, err := readMessages(strings.NewReader(s))
		if strings.TrimSpace(said) != said {
			t.Errorf("said %q", said)
		}
		if err == nil && s != "" && !strings.Contains(s, "{") && !strings.Contains(s, "null") && strings.TrimSpace(s) != "" {
			t.Errorf("%q was read as messages", s)
		}
	})
}
