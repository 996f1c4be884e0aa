package setup

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/hybrid-containers/hybrid/setup/edit"
)

// k3s writes containerd's configuration at each start, from a template: its own, or
// one that is there. Ours begins with its own.
const (
	k3sFolder   = "/var/lib/rancher/k3s/agent/etc/containerd"
	k3sTemplate = "config-v3.toml.tmpl" // with containerd 2.x
	k3sOlder    = "config.toml.tmpl"    // with 1.7; 2.x takes it where there is no other
	k3sMade     = "config.toml"
)

func k3sSettings(_ context.Context, o *Options, runtime string) ([]setting, error) {
	if err := findShim(o.Machine, runtime); err != nil {
		return nil, err
	}
	all, err := k3sInstalled(o)
	for i := range all {
		all[i].value = map[string]any{
			"runtime_type": shimType,
			"options":      map[string]any{"SystemdCgroup": edit.Action("{{ .SystemdCgroup }}")},
		}
	}
	return all, err
}

// k3sInstalled are the templates that are there. Where there is none it is the one for
// the version that k3s made last, and both before it made any: it takes the one that
// it knows, and a new one must not hide one that somebody has written.
func k3sInstalled(o *Options) ([]setting, error) {
	file, err := o.config(K3s, "")
	if err != nil {
		return nil, err
	}
	var files []string
	newer, older := filepath.Join(k3sFolder, k3sTemplate), filepath.Join(k3sFolder, k3sOlder)
	for _, f := range []string{newer, older} {
		if o.Machine.exists(f) {
			files = append(files, f)
		}
	}
	switch {
	case file != "":
		files = []string{file}
	case len(files) > 0:
	default:
		made := setting{file: filepath.Join(k3sFolder, k3sMade), format: edit.TOML{}}
		f, err := made.read(o.Machine)
		if err != nil {
			return nil, err
		}
		switch versionOf(f.doc) {
		case 0:
			files = []string{newer, older}
		case 1, 2:
			files = []string{older}
		default:
			files = []string{newer}
		}
	}
	var all []setting
	for _, f := range files {
		version := int64(2)
		if strings.Contains(filepath.Base(f), "-v3") {
			version = 3
		}
		plugin, err := criPlugin(version)
		if err != nil {
			return nil, err
		}
		all = append(all, setting{file: f, format: edit.Template{}, path: append(criRuntimes(plugin), RuntimeName), begin: `{{ template "base" . }}` + "\n"})
	}
	return all, nil
}
