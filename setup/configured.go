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
}

// Configured reads what an engine's files say.
func (o *Options) Configured(e *Engine) ([]Configured, error) {
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
		if s.path[len(s.path)-1] != RuntimeName {
			continue // the shim's options
		}
		c := Configured{File: s.file, Have: edit.Get(f.doc, s.path...)}
		switch have := c.Have.(type) {
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
		all = append(all, c)
	}
	return all, nil
}

// Program reports why a program of the machine cannot be run, if it cannot.
func (m Machine) Program(name string) error { return m.program(name) }
