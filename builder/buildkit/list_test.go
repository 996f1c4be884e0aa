package buildkit

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
)

func TestCheck(t *testing.T) {
	for builder, ok := range map[string]bool{
		"": true, "auto": true, "embedded": true, "docker": true, "unix:///run/buildkit.sock": true, "tcp://host:1234": true,
		"dockr": false, "default": false, "/run/buildkit.sock": false,
	} {
		if err := (Options{Builder: builder}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", builder, err)
		}
	}
	if _, err := Open(t.Context(), Options{Builder: "dockr"}); err == nil {
		t.Error("opened a builder that is none")
	}
}

func TestDefaultStateDir(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/data")
	want := "/data/hybrid/buildkit"
	if os.Geteuid() == 0 {
		want = "/var/lib/hybrid/buildkit"
	}
	if got := DefaultStateDir(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestParseFilter(t *testing.T) {
	for _, c := range []struct {
		filters []string
		want    string // joined
		keep    time.Duration
		fails   bool
	}{
		{},
		{filters: []string{"until=24h"}, keep: 24 * time.Hour},
		{filters: []string{"unused-for=1m"}, keep: time.Minute},
		{filters: []string{"type=regular", "inuse=false"}, want: "inuse==false,type==regular"},
		{filters: []string{"type==regular"}, want: "type==regular"},
		{filters: []string{"ID=abc"}, want: "id~=abc"},
		{filters: []string{"description~=FROM.*", "shared!=true"}, want: "description~=FROM.*,shared!=true"},
		{filters: []string{"mutable="}, want: "mutable"},
		{filters: []string{"type=regular", "type=regular"}, want: "type==regular"},
		{filters: []string{"type=regular", "type=internal"}, fails: true},
		{filters: []string{"until=yesterday"}, fails: true},
		{filters: []string{"until=-1h"}, fails: true},
		{filters: []string{"until=1h", "unused-for=2h"}, fails: true},
		{filters: []string{"regular"}, fails: true},
		{filters: []string{"=x"}, fails: true},
	} {
		f, err := ParseFilter(c.filters)
		if (err != nil) != c.fails || !c.fails && (strings.Join(f.Filter, ";") != c.want || f.Keep != c.keep) {
			t.Errorf("%q: %+v, %v", c.filters, f, err)
		}
	}
}

// What List marks is what Open takes.
func TestMarkCurrent(t *testing.T) {
	const usable = statusRunning
	for _, c := range []struct {
		name         string
		o            Options
		host, docker string // status; empty: not there
		want         string
	}{
		{name: "nothing else", want: "embedded"},
		{name: "docker", docker: usable, want: "default"},
		{name: "old docker", docker: "has no containerd image store", want: "embedded"},
		{name: "address", o: Options{Address: "unix:///x"}, host: usable, docker: usable, want: "BUILDKIT_HOST"},
		{name: "address where nobody is", o: Options{Address: "unix:///x"}, host: "no BuildKit answers", docker: usable, want: "BUILDKIT_HOST"},
		{name: "asked for embedded", o: Options{Builder: UseEmbedded, Address: "unix:///x"}, host: usable, docker: usable, want: "embedded"},
		{name: "asked for docker", o: Options{Builder: UseDocker, Address: "unix:///x"}, host: usable, docker: usable, want: "default"},
		{name: "asked for an address", o: Options{Builder: "unix:///x", Address: "unix:///x"}, host: usable, want: "BUILDKIT_HOST"},
		{name: "asked for another address", o: Options{Builder: "unix:///y", Address: "unix:///x"}, host: usable, want: ""},
	} {
		var found []Builder
		if c.host != "" {
			found = append(found, Builder{Name: "BUILDKIT_HOST", Endpoint: "unix:///x", Status: c.host})
		}
		if c.docker != "" {
			found = append(found, Builder{Name: "other", Status: usable}, Builder{Name: "default", Status: c.docker})
		}
		found = append(found, Builder{Name: UseEmbedded, Status: statusInactive})
		markCurrent(found, c.o, "default")
		var got []string
		for _, b := range found {
			if b.Current {
				got = append(got, b.Name)
			}
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestListAll(t *testing.T) {
	fakeDocker(t, http.NotFound)
	contexts := store.New(config.ContextStoreDir(), command.DefaultContextStoreConfig())
	if err := contexts.CreateOrUpdate(store.Metadata{
		Name: "far", Endpoints: map[string]any{"docker": docker.EndpointMeta{Host: "unix:///nonexistent/docker.sock"}},
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = contexts.Remove("far") }()
	var names []string
	for _, b := range List(t.Context(), Options{Address: "unix:///nonexistent/buildkitd.sock", StateDir: t.TempDir()}) {
		names = append(names, b.Name)
		switch b.Name {
		case "default":
			if b.Endpoint != os.Getenv("DOCKER_HOST") || b.Version != "26.1.0" || b.Status != "has no BuildKit that answers" {
				t.Errorf("%+v", b)
			}
		case "far", "BUILDKIT_HOST":
			if !strings.Contains(b.Status, "/nonexistent/") || strings.Contains(b.Status, "\n") {
				t.Errorf("%+v", b)
			}
		}
	}
	if want := []string{"BUILDKIT_HOST", "default", "far", "embedded"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}
