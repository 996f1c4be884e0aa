package setup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/hybrid-containers/hybrid/setup/edit"
)

// base is what k3s calls base, as far as it matters here: it ends without a newline.
const base = `{{- /* of k3s */ -}}
version = {{ .Version }}
root = {{ printf "%q" .Root }}
{{ with .Plugin }}
[plugins.{{ printf "%q" . }}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.{{ printf "%q" . }}.containerd.runtimes.runc.options]
  SystemdCgroup = {{ $.SystemdCgroup }}
{{ end -}}`

// render makes containerd's configuration of a template as k3s does: k3s itself cannot
// be had for tests.
func render(t *testing.T, text string, systemd bool, version int, plugin string) map[string]any {
	t.Helper()
	tmpl, err := template.New("containerd").Parse(text)
	if err == nil {
		_, err = tmpl.New("base").Parse(base)
	}
	var b strings.Builder
	if err == nil {
		err = tmpl.Execute(&b, map[string]any{"Version": version, "Root": `/var/lib/"x"`, "Plugin": plugin, "SystemdCgroup": systemd, "Debug": true})
	}
	if err != nil {
		t.Fatal(err)
	}
	doc, err := edit.TOML{}.Parse([]byte(b.String()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, &b)
	}
	return doc
}

// What k3s makes of the templates has the runtime, with runc's driver of cgroups, and
// all that it had before.
func TestK3sRenders(t *testing.T) {
	for name, before := range map[string]string{
		"no template": "",
		"base":        "{{ template \"base\" . }}\n",
		"more":        "{{ template \"base\" . }}\n\n[debug]\n  level = \"info\"\n",
		"no newline":  "{{ template \"base\" . }}\n[debug]\n  level = \"info\"",
		"condition":   "{{ template \"base\" . }}\n{{ if .Debug }}\n[debug]\n  level = \"debug\"{{ end -}}",
		"trimmed":     "{{ template \"base\" . }}\n[debug]\n  level = {{ printf \"%q\" \"info\" -}}\n\n\n",
		"crlf":        "{{ template \"base\" . }}\r\n[debug]\r\n",
	} {
		for _, f := range []struct {
			file, plugin string
			version      int
		}{
			{k3sTemplate, "io.containerd.cri.v1.runtime", 3},
			{k3sOlder, "io.containerd.grpc.v1.cri", 2},
		} {
			for _, systemd := range []bool{true, false} {
				t.Run(fmt.Sprint(name, f.version, systemd), func(t *testing.T) {
					m := image(t)
					file := filepath.Join(k3sFolder, f.file)
					if before != "" {
						write(t, m, file, before, 0o600)
					}
					o := Options{Machine: m, Engines: []string{K3s}, Configs: map[string]string{K3s: file}}
					if _, err := Install(context.Background(), o); err != nil {
						t.Fatal(err)
					}
					text, err := os.ReadFile(filepath.Join(m.Root, file))
					if err != nil {
						t.Fatal(err)
					}
					doc := render(t, string(text), systemd, f.version, f.plugin)
					path := append(criRuntimes(f.plugin), "hybrid")
					if edit.Get(doc, append(path, "runtime_type")...) != shimType || edit.Get(doc, append(path, "options", "SystemdCgroup")...) != systemd {
						t.Errorf("k3s makes %v of\n%s", doc, text)
					}
					if was := render(t, before+" ", systemd, f.version, f.plugin); before != "" {
						for key := range was {
							if key != "plugins" && fmt.Sprint(was[key]) != fmt.Sprint(doc[key]) {
								t.Errorf("%s was %v, and is %v", key, was[key], doc[key])
							}
						}
					}
				})
			}
		}
	}
}
