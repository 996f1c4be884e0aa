package setup

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const (
	cri2    = "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.%s]\n"
	cri3    = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.%s]\n"
	ours    = "runtime_type = 'io.containerd.hybrid.v1'\n"
	dropIns = "imports = ['/etc/containerd/conf.d/*.toml']\n"
)

// An import that changes what is installed is named, and what it has is not said twice.
func TestImports(t *testing.T) {
	hybrid2, hybrid3 := fmt.Sprintf(cri2, RuntimeName), fmt.Sprintf(cri3, RuntimeName)
	for name, c := range map[string]struct {
		main    string
		imports map[string]string // in /etc/containerd
		note    string            // a part; empty: none
		added   string            // a part of what becomes of main; empty: it stays
	}{
		"none matches":         {"version = 3\n" + dropIns, nil, "", "runtimes.hybrid]"},
		"of another plugin":    {"version = 2\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 2\n[debug]\nlevel = 'info'\n"}, "", "runtimes.hybrid]"},
		"another name":         {"version = 2\n" + dropIns, map[string]string{"conf.d/a.conf": "version = 2\n" + fmt.Sprintf(cri2, "runc")}, "", "runtimes.hybrid]"},
		"merged":               {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 3\n" + fmt.Sprintf(cri3, "kata") + "runtime_type = 'x'\n"}, "", "runtimes.hybrid]"},
		"replaced":             {"version = 2\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 2\n" + fmt.Sprintf(cri2, "kata") + "runtime_type = 'x'\n"}, "/etc/containerd/conf.d/a.toml, which it imports, has a section of the CRI plugin", "runtimes.hybrid]"},
		"relative":             {"version = 2\nimports = ['a.toml']\n", map[string]string{"a.toml": "[plugins.'io.containerd.grpc.v1.cri']\nx = 1\n"}, "/etc/containerd/a.toml, which", "runtimes.hybrid]"},
		"of an import":         {"version = 2\nimports = ['a.toml']\n", map[string]string{"a.toml": "imports = ['sub/b.toml', 'config.toml']\n", "sub/b.toml": "[plugins.'io.containerd.grpc.v1.cri']\nx = 1\n"}, "/etc/containerd/sub/b.toml, which", "runtimes.hybrid]"},
		"has it":               {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 3\n" + hybrid3 + ours + "options = { SystemdCgroup = false }\n"}, "hybrid is in /etc/containerd/conf.d/a.toml", ""},
		"has it, of version 2": {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 2\n" + hybrid2 + ours + "options = { SystemdCgroup = false }\n"}, "hybrid is in /etc/containerd/conf.d/a.toml", ""},
		"has a part":           {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 3\n" + hybrid3 + ours}, "", "runtimes.hybrid]"},
		"replaced by ours":     {"version = 2\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 2\n" + hybrid2 + ours}, "hybrid is in /etc/containerd/conf.d/a.toml", ""},
		"replaced by another":  {"version = 2\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 2\n" + hybrid2 + ours + "pod_annotations = ['x']\n"}, `a.toml, which it imports, says something else of hybrid, and that counts: {"pod_annotations"`, "runtimes.hybrid]"},
		"says something else":  {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 3\n" + hybrid3 + "runtime_type = 'y'\n"}, `a.toml, which it imports, says something else of hybrid, and that counts: {"runtime_type":"y"}`, "runtimes.hybrid]"},
		"the last one counts":  {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 3\n" + hybrid3 + "runtime_type = 'y'\n", "conf.d/b.toml": "version = 3\n" + hybrid3 + ours + "options = { SystemdCgroup = false }\n"}, "hybrid is in /etc/containerd/conf.d/b.toml", ""},
		"the driver of runc":   {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 3\n" + fmt.Sprintf(cri3, "runc.options") + "SystemdCgroup = true\n"}, "", "SystemdCgroup = true"},
		"disabled":             {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "version = 3\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n"}, "disabled_plugins has its CRI plugin", "runtimes.hybrid]"},
		"is not there":         {"version = 3\nimports = ['a.toml']\n", nil, "config.toml imports /etc/containerd/a.toml: no such file (containerd does not take that either)", "runtimes.hybrid]"},
		"does not parse":       {"version = 3\n" + dropIns, map[string]string{"conf.d/a.toml": "x =\n"}, "config.toml imports /etc/containerd/conf.d/a.toml: line 1: ", "runtimes.hybrid]"},
		"no pattern":           {"version = 3\nimports = ['conf.d/[*.toml']\n", map[string]string{"conf.d/a.toml": ""}, `config.toml: imports "conf.d/[*.toml": syntax error in pattern`, "runtimes.hybrid]"},
	} {
		t.Run(name, func(t *testing.T) {
			m := image(t)
			write(t, m, containerdConfig, c.main, 0o644)
			for name, text := range c.imports {
				write(t, m, filepath.Join("etc/containerd", name), text, 0o644)
			}
			before := tree(t, m)
			o := Options{Machine: m, Engines: []string{Containerd}}
			for range 2 {
				changes, err := Install(context.Background(), o)
				if err != nil {
					t.Fatal(err)
				}
				notes := strings.Join(changes[0].Notes, "\n")
				if len(changes) != 1 || !strings.Contains(notes, c.note) || (notes == "") != (c.note == "") {
					t.Errorf("%d changes, notes %q", len(changes), notes)
				}
			}
			after := tree(t, m)[containerdConfig[1:]]
			if (after == c.main) != (c.added == "") || !strings.Contains(after, c.added) {
				t.Errorf("it becomes %q", after)
			}
			if _, err := Uninstall(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			want(t, tree(t, m), before)
		})
	}
}
