package setup

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/hybrid-containers/hybrid/setup/edit"
)

// maxImports bounds what is looked at: a pattern may match a whole machine.
const maxImports = 1000

var errManyImports = fmt.Errorf("imports more than %d files", maxImports)

// imported is a file that containerd's configuration imports, itself or by another one.
type imported struct {
	file string
	doc  map[string]any
}

// importsOf are the files that a configuration imports, in the order in which containerd
// reads them: of two that say something the later one counts. It is an error where
// containerd has one, too.
func importsOf(m Machine, file string, doc map[string]any) ([]imported, error) {
	all := []imported{{file, doc}}
	read := map[string]bool{file: true}
	for i := 0; i < len(all); i++ {
		names, _ := all[i].doc["imports"].([]any)
		for _, v := range names {
			name, _ := v.(string)
			files, err := m.resolve(all[i].file, name)
			if err != nil {
				return nil, fmt.Errorf("%s: imports %q: %w", all[i].file, name, err)
			}
			for _, f := range files {
				if read[f] {
					continue
				}
				read[f] = true
				s := setting{file: f, format: edit.TOML{}}
				c, err := s.read(m)
				switch {
				case err != nil:
					return nil, fmt.Errorf("%s imports %w", all[i].file, err)
				case c.text == nil:
					return nil, fmt.Errorf("%s imports %s: no such file", all[i].file, f)
				case len(all) > maxImports:
					return nil, fmt.Errorf("%s: %w", file, errManyImports)
				}
				all = append(all, imported{f, c.doc})
			}
		}
	}
	return all[1:], nil
}

// resolve are the files that an import of a file names: a path from its folder, in which
// a pattern is one if it has a star.
func (m Machine) resolve(file, name string) ([]string, error) {
	name = filepath.Clean(name)
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(file), name)
	}
	if !strings.Contains(name, "*") {
		return []string{name}, nil
	}
	found := []string{"/"}
	for part := range strings.SplitSeq(name[1:], "/") {
		var next []string
		for _, dir := range found {
			if !strings.ContainsAny(part, `*?[\`) {
				next = append(next, filepath.Join(dir, part))
				continue
			}
			path, err := m.Path(dir)
			if err != nil {
				continue // as one that cannot be read: nothing is found there
			}
			entries, err := os.ReadDir(path)
			if err != nil {
				continue
			}
			for _, e := range entries {
				ok, err := filepath.Match(part, e.Name())
				if err != nil {
					return nil, err
				}
				if ok {
					next = append(next, filepath.Join(dir, e.Name()))
				}
			}
			if len(next) > maxImports {
				return nil, errManyImports
			}
		}
		found = next
	}
	var files []string
	for _, f := range found {
		if m.exists(f) {
			files = append(files, f)
		}
	}
	return files, nil
}

// replaces reports whether containerd 1.x lets an import replace all that a configuration
// of this version says of a plugin; 2.x merges the two, and with 3 it is always that.
func replaces(version int64) bool { return version < 3 }

// sections are what an imported file says of the CRI plugin of a configuration of this
// version, by any name that containerd makes it of.
func (i imported) sections(version int64) []map[string]any {
	names := []string{"io.containerd.cri.v1.runtime"}
	own := max(versionOf(i.doc), 1)
	switch {
	case version == 1:
		names = []string{"cri"}
	case version == 2:
		names = []string{"io.containerd.grpc.v1.cri"}
	case own == 1:
		names = append(names, "cri", "io.containerd.grpc.v1.cri")
	case own == 2:
		names = append(names, "io.containerd.grpc.v1.cri")
	}
	var all []map[string]any
	for _, name := range names {
		if s, ok := edit.Get(i.doc, "plugins", name).(map[string]any); ok {
			all = append(all, s)
		}
	}
	return all
}

// runtimeOf is a runtime in a section of the CRI plugin.
func runtimeOf(section map[string]any, name string) map[string]any {
	r, _ := edit.Get(section, "containerd", "runtimes", name).(map[string]any)
	return r
}

// merged is a configuration with what it imports.
type merged struct {
	have map[string]any // of hybrid; nil: nothing
	// imported is what imports alone say of it, whole if they leave nothing of what the
	// configuration itself says.
	imported map[string]any
	whole    bool
	file     string // that says it, the last one
	// replaced is an import that replaces the section without saying anything of hybrid,
	// where containerd 1.x reads it.
	replaced string
	systemd  bool // runc's driver of cgroups
	disabled bool // the CRI plugin is
}

// merge reads a configuration of containerd with its imports. Where it is an error, what
// could be read before counts.
func merge(m Machine, s setting, doc map[string]any, version int64) (merged, error) {
	var r merged
	if r.have, _ = edit.Get(doc, s.path...).(map[string]any); r.have != nil {
		r.file = s.file
	}
	r.systemd, _ = edit.Get(doc, append(s.path[:len(s.path)-1:len(s.path)-1], "runc", "options", "SystemdCgroup")...).(bool)
	r.disabled = criDisabled(doc)
	all, err := importsOf(m, s.file, doc)
	for _, i := range all {
		r.disabled = r.disabled || criDisabled(i.doc)
		for _, section := range i.sections(version) {
			if systemd, ok := edit.Get(runtimeOf(section, "runc"), "options", "SystemdCgroup").(bool); ok {
				r.systemd = systemd
			}
			switch have := runtimeOf(section, RuntimeName); {
			case have != nil && replaces(version):
				r.have, r.imported, r.file, r.replaced, r.whole = have, have, i.file, "", true
			case have != nil:
				r.have, r.imported, r.file = mergeTables(r.have, have), mergeTables(r.imported, have), i.file
			case replaces(version):
				r.replaced = i.file
			}
		}
	}
	return r, err
}

// mergeTables is a with what b says.
func mergeTables(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]any{}
	}
	for k, v := range b {
		below, isTable := v.(map[string]any)
		if above, ok := all[k].(map[string]any); ok && isTable {
			v = mergeTables(above, below)
		}
		all[k] = v
	}
	return all
}

// criDisabled reports whether a configuration disables the CRI plugin.
func criDisabled(doc map[string]any) bool {
	disabled, _ := doc["disabled_plugins"].([]any)
	for _, p := range disabled {
		switch p {
		case "cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime":
			return true
		}
	}
	return false
}

// notes are on what becomes of a setting with the imports; has reports that one of them
// says it already.
func (r merged) notes(s setting) (notes []string, has bool) {
	value, _ := s.value.(map[string]any)
	switch {
	case r.replaced != "":
		return []string{r.replaced + ", which it imports, has a section of the CRI plugin: for containerd 1.x that replaces the whole one here, and hybrid with it (add hybrid there)"}, false
	case r.imported == nil:
	case reflect.DeepEqual(r.imported, value):
		return []string{"hybrid is in " + r.file + ", which it imports"}, true
	case !r.whole && reflect.DeepEqual(mergeTables(value, r.imported), value): // it says a part
	default:
		c := &ConflictError{r.file, RuntimeName, r.imported}
		return []string{fmt.Sprintf("%s, which it imports, says something else of hybrid, and that counts: %s (change it there)", r.file, c.have())}, false
	}
	return nil, false
}
