package setup

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hybrid-containers/hybrid/setup/edit"
)

const (
	containerdConfig = "/etc/containerd/config.toml"
	// shimType is the name by which containerd finds the program ShimName.
	shimType = "io.containerd.hybrid.v1"
	// ShimName is the program of our shim.
	ShimName = "containerd-shim-hybrid-v1"
	// shimOptions is a file beside containerd's configuration.
	shimOptions = "hybrid.toml"
)

// criPlugin is the plugin that has the runtimes of Kubernetes, by the version of
// containerd's configuration.
func criPlugin(version int64) (string, error) {
	switch version {
	case 1:
		return "cri", nil
	case 2:
		return "io.containerd.grpc.v1.cri", nil
	case 3, 4:
		return "io.containerd.cri.v1.runtime", nil
	}
	return "", fmt.Errorf("version %d of its configuration is not known: 1 to 4 are", version)
}

func criRuntimes(plugin string) []string {
	return []string{"plugins", plugin, "containerd", "runtimes"}
}

func containerdSettings(ctx context.Context, o *Options, runtime string) ([]setting, error) {
	if err := findShim(o.Machine, runtime); err != nil {
		return nil, err
	}
	s, f, version, err := containerdSetting(o, func() (int64, error) { return containerdVersion(ctx, o) })
	if err != nil {
		return nil, err
	}
	m, unread := merge(o.Machine, s, f.doc, version)
	value := map[string]any{"runtime_type": shimType}
	s.value = value
	all := []setting{s}
	switch { // kubelet's driver of cgroups is the same for all runtimes
	case version >= 3:
		value["options"] = map[string]any{"SystemdCgroup": m.systemd}
	case m.systemd: // 1.6 passes a file alone
		options := optionsFile(s.file)
		value["options"] = map[string]any{"ConfigPath": options.file}
		options.value = true
		all = []setting{options, s} // a configuration names no file that is not there
	default:
		all = append(all, staleOptions(s, f)...)
	}
	last := &all[len(all)-1]
	if m.disabled {
		last.notes = append(last.notes, "disabled_plugins has its CRI plugin: Kubernetes needs that (ctr and Docker do not)")
	}
	runtimes := &all[slices.IndexFunc(all, func(a setting) bool { return a.file == s.file })]
	notes, has := m.notes(s)
	runtimes.notes, runtimes.has = append(runtimes.notes, notes...), has
	if unread != nil {
		runtimes.notes = append(runtimes.notes, unread.Error()+" (containerd does not take that either)")
	}
	return all, nil
}

// optionsFile is the file that says what containerd 1.6 cannot.
func optionsFile(config string) setting {
	return setting{file: filepath.Join(filepath.Dir(config), shimOptions), format: edit.TOML{}, path: []string{"SystemdCgroup"}}
}

func containerdInstalled(o *Options) ([]setting, error) {
	s, f, _, err := containerdSetting(o, func() (int64, error) { return 3, nil })
	if err != nil {
		return nil, err
	}
	return append([]setting{s}, staleOptions(s, f)...), nil
}

// staleOptions is the file of options that a configuration names, to be taken back.
func staleOptions(s setting, f *content) []setting {
	options := optionsFile(s.file)
	if edit.Get(f.doc, append(slices.Clip(s.path), "options", "ConfigPath")...) != options.file {
		return nil
	}
	return []setting{options}
}

// containerdSetting is the setting of its runtime; ask is for the version if there is
// no file that has one.
func containerdSetting(o *Options, ask func() (int64, error)) (s setting, f *content, version int64, err error) {
	s.format = edit.TOML{}
	if s.file, err = o.config(Containerd, containerdConfig); err != nil {
		return s, nil, 0, err
	}
	if f, err = s.read(o.Machine); err != nil {
		return s, nil, 0, err
	}
	if v := f.doc["version"]; v != nil {
		if _, ok := v.(int64); !ok {
			return s, nil, 0, fmt.Errorf("%s: its version is %q, not a number: containerd does not take it either", s.file, fmt.Sprint(v))
		}
	}
	if version = versionOf(f.doc); version == 0 {
		if version, err = ask(); err != nil {
			return s, nil, 0, fmt.Errorf("%s: %w", s.file, err)
		}
	}
	if version > 1 {
		s.begin = fmt.Sprintf("version = %d\n", version)
	}
	plugin, err := criPlugin(version)
	if err != nil {
		return s, nil, 0, fmt.Errorf("%s: %w", s.file, err)
	}
	s.path = append(criRuntimes(plugin), RuntimeName)
	return s, f, version, nil
}

// versionOf is the version of a configuration; 0 is any, of one that says nothing.
func versionOf(doc map[string]any) int64 {
	if v, ok := doc["version"].(int64); ok {
		return v
	}
	if len(doc) == 0 {
		return 0
	}
	return 1 // so containerd takes a file that does not say it
}

// containerdVersion is the version of a new configuration for the containerd that is
// there: 3 is understood by all of 2.x.
func containerdVersion(ctx context.Context, o *Options) (int64, error) {
	release := o.Containerd
	if release == "" && o.Machine.Own() {
		program, err := o.Machine.Look("containerd")
		if err == nil {
			release, err = ReleaseOf(ctx, program)
		}
		if err != nil {
			return 0, fmt.Errorf("which containerd it is for cannot be told: %w (--containerd-version 1.7)", err)
		}
	}
	if release == "" {
		return 0, errors.New("which containerd it is for cannot be told (--containerd-version 1.7)")
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(release, "v"), ".")
	switch n, err := strconv.Atoi(major); {
	case err != nil || n < 1:
		return 0, fmt.Errorf("%q is no version of containerd (--containerd-version 1.7)", release)
	case n == 1:
		return 2, nil
	}
	return 3, nil
}

// ReleaseOf asks an engine's program for its version.
func ReleaseOf(ctx context.Context, program string) (string, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if n := strings.TrimPrefix(word, "v"); n != "" && n[0] >= '0' && n[0] <= '9' {
			return strings.TrimRight(n, ","), nil
		}
	}
	return "", fmt.Errorf("%s --version: no version in %.60q", program, out)
}

// findShim wants the shim where containerd looks for it, and our runtime to be the one
// that it takes: the one beside it, else one in PATH.
func findShim(m Machine, runtime string) error {
	shim, err := m.Look(ShimName)
	if err != nil {
		return fmt.Errorf("%w, where containerd looks for it (put it into /usr/local/bin, with hybrid-runtime)", err)
	}
	beside := filepath.Join(filepath.Dir(shim), runtimeName)
	if m.program(beside) != nil {
		if beside, err = m.Look(runtimeName); err != nil {
			return fmt.Errorf("%s finds no %s beside it or in PATH", shim, runtimeName)
		}
	}
	if !same(m, beside, runtime) {
		return fmt.Errorf("%s runs %s, not %s: put them into one folder", shim, beside, runtime)
	}
	return nil
}

// same reports whether two names of the machine are one file.
func same(m Machine, a, b string) bool {
	pa, errA := m.Path(a) // without links
	pb, errB := m.Path(b)
	return errA == nil && errB == nil && pa == pb
}
