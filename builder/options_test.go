package builder

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dockerconfig "github.com/docker/cli/cli/config"
)

// wantUsage wants a usage error that contains text.
func wantUsage(t *testing.T, err error, text string) {
	t.Helper()
	var usage *UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want a usage error with %q", err, text)
	}
}

func TestParseAttests(t *testing.T) {
	for _, c := range []struct {
		request Request
		want    map[string]string
		err     string
	}{
		{request: Request{}, want: map[string]string{}},
		{request: Request{Provenance: "true"}, want: map[string]string{"provenance": "type=provenance"}},
		{request: Request{Provenance: "mode=max"}, want: map[string]string{"provenance": "type=provenance,mode=max"}},
		{request: Request{Provenance: "false"}, want: map[string]string{}},
		{request: Request{Attests: []string{"type=provenance,mode=max"}, Provenance: "0"}, want: map[string]string{}},
		{request: Request{SBOM: "generator=a/b:c"}, want: map[string]string{"sbom": "type=sbom,generator=a/b:c"}},
		{
			request: Request{Attests: []string{`type=sbom,"generator=a,b",x=y`}},
			want:    map[string]string{"sbom": `type=sbom,"generator=a,b",x=y`},
		},
		{request: Request{Attests: []string{"mode=max"}}, err: "want type=provenance|sbom"},
		{request: Request{Attests: []string{"type=x"}}, err: "want type=provenance|sbom"},
		{request: Request{Provenance: "max"}, err: `want KEY=VALUE, got "max"`},
		{request: Request{Attests: []string{"type=sbom,disabled=perhaps"}}, err: "want true or false"},
	} {
		got, err := c.request.parseAttests()
		if c.err != "" {
			wantUsage(t, err, c.err)
		} else if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%v %s %s: %v, %v, want %v", c.request.Attests, c.request.Provenance, c.request.SBOM, got, err, c.want)
		}
	}
}

func TestParseCaches(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		flag, want, err string
	}{
		{"user/app:cache", "registry map[mode:min ref:user/app:cache]", ""},
		{"type=registry,ref=a/b,mode=max", "registry map[mode:max ref:a/b]", ""},
		{"type=local,dest=" + dir, "local map[dest:" + dir + " mode:min]", ""},
		{"type=inline", "inline map[mode:min]", ""},
		{"type=local", "", "needs dest=FOLDER"},
		{"type=registry", "", "needs ref=NAME"},
		{"type=registri,ref=x", "", "did you mean registry"},
		{"type=local,dest", "", "invalid value dest"},
	} {
		got, err := parseCacheTo([]string{c.flag})
		if c.err != "" {
			wantUsage(t, err, c.err)
		} else if err != nil || len(got) != 1 || fmt.Sprint(got[0].Type, " ", got[0].Attrs) != c.want {
			t.Errorf("%s: %v, %v, want %s", c.flag, got, err, c.want)
		}
	}
	_, err := parseCacheTo([]string{"type=local,dest=" + dir, "a/b"})
	wantUsage(t, err, "cannot be combined with another cache")
	if all, err := parseCacheTo([]string{"type=local,dest=" + dir, "type=inline"}); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	for spec, n := range map[string]int{
		"type=local,src=" + dir:            1,
		"type=local,src=" + dir + "/none":  0, // as buildx: the first build has no cache yet
		"user/app":                         1,
		"type=registry,ref=user/app:cache": 1,
	} {
		if got, err := parseCacheFrom([]string{spec}); err != nil || len(got) != n {
			t.Errorf("%s: %v, %v, want %d", spec, got, err, n)
		}
	}
}

func TestStepAttrs(t *testing.T) {
	for _, c := range []struct {
		steps   Steps
		want    map[string]string
		allowed []string
		err     string
	}{
		{steps: Steps{}},
		{steps: Steps{Network: "default"}},
		{steps: Steps{Network: "none"}, want: map[string]string{"force-network-mode": "none"}},
		{steps: Steps{Network: "host"}, want: map[string]string{"force-network-mode": "host"}, allowed: []string{"network.host"}},
		{steps: Steps{Network: "bridge"}, err: "want default, none or host"},
		{steps: Steps{Allow: []string{"security.insecure"}}, allowed: []string{"security.insecure"}},
		{steps: Steps{Allow: []string{"everything"}}, err: "want network.host"},
		{
			steps: Steps{AddHosts: []string{"a:1.2.3.4", "b=::1", "c:[fe80::1]", "d:1.1.1.1,2.2.2.2"}},
			want:  map[string]string{"add-hosts": "a=1.2.3.4,b=::1,c=fe80::1,d=1.1.1.1,d=2.2.2.2"},
		},
		{steps: Steps{AddHosts: []string{"a"}}, err: "want NAME:ADDRESS"},
		{steps: Steps{AddHosts: []string{"a:b"}}, err: `"b" is no IP address`},
		{steps: Steps{ULimits: []string{"nofile=10:20", "core=0"}}, want: map[string]string{"ulimit": "nofile=10:20,core=0:0"}},
		{steps: Steps{ULimits: []string{"nofiles=1"}}, err: "invalid ulimit type: nofiles"},
		{steps: Steps{ShmSize: "64m"}, want: map[string]string{"shm-size": "67108864"}},
		{steps: Steps{ShmSize: "much"}, err: "such as 64m"},
		{
			steps: Steps{Resources: []string{"memory=1g", "memory-swap=-1", "cpu-quota=50000", "cpuset-cpus=0-1"}},
			want:  map[string]string{"memory": "1073741824", "memswap": "-1", "cpuquota": "50000", "cpusetcpus": "0-1"},
		},
		{steps: Steps{Resources: []string{"memory=much"}}, err: "such as 512m"},
		{steps: Steps{Resources: []string{"cpu-shares=x"}}, err: "want a number"},
		{steps: Steps{Resources: []string{"disk=1"}}, err: "want KEY=VALUE with cpu-period"},
		{steps: Steps{CgroupParent: "/a"}, want: map[string]string{"cgroup-parent": "/a"}},
	} {
		attrs := map[string]string{}
		allowed, err := c.steps.attrs(attrs)
		if c.err != "" {
			wantUsage(t, err, c.err)
		} else if err != nil || !maps.Equal(attrs, c.want) || !slices.Equal(allowed, c.allowed) {
			t.Errorf("%+v: %v allowed %v, %v, want %v and %v", c.steps, attrs, allowed, err, c.want, c.allowed)
		}
	}
}

func TestAttachables(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		request Request
		err     string
	}{
		{Request{Secrets: []string{"id=a,src=/nothing"}}, "no such file"},
		{Request{Secrets: []string{"id=a,source"}}, "id=NAME[,src=FILE|env=VARIABLE]"},
		{Request{Secrets: []string{"src=x"}}, "id=NAME"},
		{Request{SSH: []string{"default"}}, "SSH_AUTH_SOCK"},
		{Request{SSH: []string{"default=" + key}}, "--ssh: "},
	} {
		_, err := c.request.attachables()
		wantUsage(t, err, c.err)
	}
	all, err := (&Request{Secrets: []string{"id=a,src=" + key, "id=PATH", "id=b,env=HOME"}}).attachables()
	if err != nil || len(all) != 2 {
		t.Errorf("%d attachables, %v", len(all), err)
	}
}

func TestDockerHoldsNoAttestations(t *testing.T) {
	r := &Request{Provenance: "true", Tags: []string{"x"}}
	o, err := r.options()
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.parseOutputs(o)
	wantUsage(t, err, "the archive cannot hold attestations")
}

// The proxies of Docker's configuration are build arguments, unless the user sets
// them.
func TestProxies(t *testing.T) {
	dir, before := t.TempDir(), dockerconfig.Dir()
	config := `{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "localhost"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	dockerconfig.SetDir(dir)
	t.Cleanup(func() { dockerconfig.SetDir(before) })
	o, err := (&Request{BuildArgs: []string{"NO_PROXY=mine"}}).options()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"HTTP_PROXY": "http://p:1", "http_proxy": "http://p:1", "no_proxy": "localhost", "NO_PROXY": "mine"}
	if !maps.Equal(o.buildArgs, want) {
		t.Errorf("build arguments %v, want %v", o.buildArgs, want)
	}
}
