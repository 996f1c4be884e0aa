package setup

import (
	"github.com/hybrid-containers/hybrid/setup/edit"
)

// Configured is what a configuration file says of hybrid.
type Configured struct {
	File string // as the machine has it
	// Have is nil if it says nothing.
	Have any
	// Shim says that our shim is named; else Programs are, of which one must be there.
	Shim     bool
	Programs []string
	// Replaced is a file that this one imports, and that takes hybrid away for
	// containerd 1.x; empty: none.
	Replaced string
}

// Configured reads what an engine's files say.
func (o *Options) Configured(e *Engine) ([]Configured, error) {
	if e.Name == Containerd {
		return o.configuredContainerd()
	}
	settings, err := e.installed(o)
	if err != nil {
		return nil, err
	}
	var all []Configured
	for _, s := range settings {
		f, err := s.read(o.Machine)
		if err != nil {
			return nil, err
		}
		all = append(all, configured(s.file, edit.Get(f.doc, s.path...)))
	}
	return all, nil
}

// configuredContainerd is what containerd makes of its file and of those that it imports.
func (o *Options) configuredContainerd() ([]Configured, error) {
	s, f, version, err := containerdSetting(o, func() (int64, error) { return 3, nil })
	if err != nil {
		return nil, err
	}
	m, err := merge(o.Machine, s, f.doc, version)
	if err != nil {
		return nil, err
	}
	if m.have == nil { // also what is no table
		return []Configured{configured(s.file, edit.Get(f.doc, s.path...))}, nil
	}
	c := configured(m.file, m.have)
	c.Replaced = m.replaced
	return []Configured{c}, nil
}

// configured is what a file says, taken apart.
func configured(file string, have any) Configured {
	c := Configured{File: file, Have: have}
	switch have := have.(type) {
	case []any: // podman's: the first that is there
		for _, v := range have {
			if program, ok := v.(string); ok {
				c.Programs = append(c.Programs, program)
			}
		}
	case map[string]any:
		c.Shim = have["runtime_type"] == shimType || have["runtimeType"] == shimType
		for _, v := range []any{have["path"], edit.Get(have, "options", "BinaryName")} {
			if program, ok := v.(string); ok && program != "" {
				c.Programs = append(c.Programs, program)
			}
		}
	}
	return c
}

// Program reports why a program of the machine cannot be run, if it cannot.
func (m Machine) Program(name string) error { return m.program(name) }
