package namespace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	type list []specs.LinuxNamespace
	for name, c := range map[string]struct {
		list   list
		made   uintptr
		joined int
		err    string
	}{
		"none": {},
		"what Docker gives": {
			list: list{{Type: "mount"}, {Type: "network"}, {Type: "uts"}, {Type: "pid"}, {Type: "ipc"}, {Type: "cgroup"}, {Type: "time"}},
			made: unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		},
		"joined": {
			list:   list{{Type: "network", Path: "/proc/self/ns/net"}, {Type: "ipc", Path: "/proc/self/ns/ipc"}, {Type: "uts"}},
			made:   unix.CLONE_NEWUTS,
			joined: 2,
		},
		"checked":       {list: list{{Type: "mount", Path: "/proc/self/ns/mnt"}, {Type: "pid", Path: "/proc/self/ns/pid"}}},
		"user":          {list: list{{Type: "user"}}, err: "a user namespace would take the rights away"},
		"user by path":  {list: list{{Type: "user", Path: "/proc/self/ns/user"}}, err: "a user namespace would take the rights away"},
		"twice":         {list: list{{Type: "network"}, {Type: "network", Path: "/proc/self/ns/net"}}, err: "network is there twice"},
		"no type":       {list: list{{Type: "net"}}, err: `there is no type "net"`},
		"relative":      {list: list{{Type: "network", Path: "ns/net"}}, err: `network: path "ns/net" is not absolute`},
		"not there":     {list: list{{Type: "network", Path: dir + "/none"}}, err: "no such file or directory"},
		"a file":        {list: list{{Type: "uts"}, {Type: "network", Path: file}}, err: "is no namespace of this type"},
		"a fifo":        {list: list{{Type: "network", Path: fifo}}, err: "is no namespace of this type"},
		"another type":  {list: list{{Type: "network", Path: "/proc/self/ns/uts"}}, err: "is no namespace of this type"},
		"mount, a file": {list: list{{Type: "mount", Path: file}}, err: "is no namespace of this type"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(c.list)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.made != c.made || len(s.joined) != c.joined {
				t.Errorf("made %x, joined %d, want %x and %d", s.made, len(s.joined), c.made, c.joined)
			}
		})
	}
}
