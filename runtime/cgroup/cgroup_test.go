package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// system makes a /proc/self with hierarchies that are mounted below dir, given as
// OPTIONS:OWN for version 1 and :OWN for version 2.
func system(t *testing.T, dir string, hierarchies ...string) (proc string) {
	t.Helper()
	proc = t.TempDir()
	var mounts, own strings.Builder
	mounts.WriteString("24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n")
	for i, h := range hierarchies {
		options, path, _ := strings.Cut(h, ":")
		at := filepath.Join(dir, "v2")
		kind := "cgroup2 none rw,nsdelegate"
		if options != "" {
			at = filepath.Join(dir, strings.TrimPrefix(options, "name="))
			kind = "cgroup cgroup rw,xattr,release_agent=/lib/x," + options
		}
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		line := "30 24 0:26 / " + strings.ReplaceAll(at, " ", `\040`) + " rw,nosuid - " + kind + "\n"
		mounts.WriteString(line + strings.Replace(line, at, "/twice", 1))
		own.WriteString(string(rune('9'-i)) + ":" + options + ":" + path + "\n")
	}
	for name, text := range map[string]string{"mountinfo": mounts.String(), "cgroup": own.String()} {
		if err := os.WriteFile(filepath.Join(proc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return proc
}

func TestFind(t *testing.T) {
	hybrid := []string{"cpu,cpuacct:/", "memory:/above/own", "name=systemd:/user.slice", ":/unified"}
	for _, c := range []struct {
		name        string
		hierarchies []string
		path        string
		systemd     bool
		want        []string
		err         string
	}{
		{name: "absolute", hierarchies: hybrid, path: "/docker/x", want: []string{"cpu,cpuacct/docker/x", "memory/docker/x", "systemd/docker/x", "v2/docker/x"}},
		{name: "relative", hierarchies: hybrid, path: "x", want: []string{"cpu,cpuacct/x", "memory/above/own/x", "systemd/user.slice/x", "v2/unified/x"}},
		{name: "version 2", hierarchies: []string{":/own"}, path: "/a/b", want: []string{"v2/a/b"}},
		{name: "out of the tree", hierarchies: hybrid[:1], path: "../../../etc/x", want: []string{"cpu,cpuacct/etc/x"}},
		{name: "absolute and out of the tree", hierarchies: hybrid[:1], path: "/a/../../x", want: []string{"cpu,cpuacct/x"}},
		{name: "out of its own", hierarchies: hybrid[1:2], path: "../../x", want: []string{"memory/above/own/x"}},
		{name: "its own", hierarchies: hybrid[1:2], path: "x/..", err: "is the caller's own cgroup"},
		{name: "its parent", hierarchies: hybrid[1:2], path: "..", err: "is the caller's own cgroup"},
		{name: "the root", hierarchies: hybrid, path: "/..", err: "is the root of all cgroups"},
		{name: "nothing mounted", path: "/x", err: "no cgroups are mounted"},
		{name: "scope", hierarchies: hybrid[:1], path: "a-b.slice:cri-containerd:x", systemd: true, want: []string{"cpu,cpuacct/a.slice/a-b.slice/cri-containerd-x.scope"}},
		{name: "scope without prefix", hierarchies: hybrid[:1], path: "::x", systemd: true, want: []string{"cpu,cpuacct/system.slice/x.scope"}},
		{name: "scope in the root", hierarchies: hybrid[:1], path: "-.slice:a:x", systemd: true, want: []string{"cpu,cpuacct/a-x.scope"}},
		{name: "a slice", hierarchies: hybrid[:1], path: "a.slice:p:x.slice", systemd: true, want: []string{"cpu,cpuacct/a.slice/x.slice"}},
		{name: "a path for systemd", hierarchies: hybrid, path: "/docker/x", systemd: true, err: `"/docker/x": want SLICE:PREFIX:NAME`},
		{name: "a path in a part", hierarchies: hybrid, path: "a.slice:p:../x", systemd: true, err: "want SLICE:PREFIX:NAME"},
		{name: "no slice", hierarchies: hybrid, path: "a:p:x", systemd: true, err: `"a" is not the name of a slice`},
		{name: "an empty part of a slice", hierarchies: hybrid, path: "a--b.slice:p:x", systemd: true, err: "is not the name of a slice"},
		{name: "a slice of nothing", hierarchies: hybrid, path: ".slice:p:x", systemd: true, err: "is not the name of a slice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "with space")
			found, err := find(system(t, dir, c.hierarchies...), c.path, c.systemd)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, w := range c.want {
				want = append(want, filepath.Join(dir, w))
			}
			if got := found.Folders(); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// Controllers of version 2 are handed down, and a cpuset of version 1 gets what is
// above it.
func TestMake(t *testing.T) {
	dir := t.TempDir()
	c, err := find(system(t, dir, "cpuset:/", ":/"), "/a/b", false)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// the files that the kernel makes are here made before
	for name, text := range map[string]string{
		"cpuset/cpuset.cpus": "0-3\n", "cpuset/cpuset.mems": "0\n", "cpuset/a/cpuset.cpus": "1\n", "cpuset/a/cpuset.mems": "\n",
		"cpuset/a/b/cpuset.cpus": "", "cpuset/a/b/cpuset.mems": "",
		"v2/cgroup.controllers": "cpuset cpu memory hugetlb", "v2/cgroup.subtree_control": "",
	} {
		put(name, text)
	}
	if err := c.Make(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cpuset/a/cpuset.cpus": "1\n", "cpuset/a/cpuset.mems": "0", "cpuset/a/b/cpuset.cpus": "1", "cpuset/a/b/cpuset.mems": "0",
		"v2/cgroup.subtree_control": "+memory", // of writes to a plain file the last stays, above the others
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "v2/a/b")); err != nil || !info.IsDir() {
		t.Error(err)
	}
	if err := c.Make(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if err := c.Enter(1); err == nil {
		t.Error("entered what is no cgroup")
	}
	if err := Remove([]string{filepath.Join(dir, "v2/a/b"), filepath.Join(dir, "v2/a"), filepath.Join(dir, "gone")}, time.Second); err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	num := func(n int64) *int64 { return &n }
	unsigned := func(n uint64) *uint64 { return &n }
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: num(1 << 30), Swap: num(1)},
		Pids:   &specs.LinuxPids{Limit: num(5)},
		CPU:    &specs.LinuxCPU{Shares: unsigned(1024), Quota: num(1000), Cpus: "0-1", Mems: "0"},
	}
	for unified, want := range map[bool][]limit{
		false: {
			{"memory", "memory.limit_in_bytes", "1073741824"},
			{"pids", "pids.max", "64"},
			{"cpu", "cpu.shares", "1024"},
			{"cpuset", "cpuset.cpus", "0-1"},
			{"cpuset", "cpuset.mems", "0"},
		},
		true: {
			{"memory", "memory.max", "1073741824"},
			{"pids", "pids.max", "64"},
			{"cpu", "cpu.weight", "39"},
			{"cpuset", "cpuset.cpus", "0-1"},
			{"cpuset", "cpuset.mems", "0"},
		},
	} {
		if got := limits(unified, r); !slices.Equal(got, want) {
			t.Errorf("version 2 is %v: %v, want %v", unified, got, want)
		}
	}
	none := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: num(-1)}, Pids: &specs.LinuxPids{Limit: num(0)}, CPU: &specs.LinuxCPU{Shares: unsigned(0)}}
	if got := limits(false, none); len(got) != 0 {
		t.Errorf("%v", got)
	}
	small := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: num(6 << 20)}}
	if got := limits(false, small); len(got) != 1 || got[0].value != "33554432" {
		t.Errorf("%v", got)
	}
	for shares, want := range map[uint64]uint64{2: 1, 0: 1, 1024: 39, 262144: 10000, 1 << 40: 10000} {
		if got := weight(shares); got != want {
			t.Errorf("%d shares are %d, want %d", shares, got, want)
		}
	}
}
