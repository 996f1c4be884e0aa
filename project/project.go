// Package project reads hybrid.yaml, in which a project says what hybrid build then
// need not be told each time.
package project

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/distribution/reference"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/moby/buildkit/util/suggest"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sdk"
)

// FileName is what the file is called, in the folder of the build context.
const FileName = "hybrid.yaml"

// maxFile bounds the file, in bytes.
const maxFile = 1 << 20

// File is what a hybrid.yaml says. Whatever is left out is decided as if there were
// no file; flags of hybrid build come before it.
type File struct {
	Name     string          `yaml:"name" json:"name,omitempty" jsonschema:"name of the image, as with --tag"`
	SDK      string          `yaml:"sdk" json:"sdk,omitempty" jsonschema:"SDK whose Dockerfile builds a project without one of its own, as with --sdk"`
	Targets  []Target        `yaml:"targets" json:"targets,omitempty" jsonschema:"the cores to build for, as with --target-core"`
	Pack     bool            `yaml:"pack" json:"pack,omitempty" jsonschema:"put the firmware of several targets into one image, as with --pack"`
	Args     map[string]Text `yaml:"args" json:"args,omitempty" jsonschema:"build arguments, as with --build-arg"`
	Firmware string          `yaml:"firmware" json:"firmware,omitempty" jsonschema:"the ELF file in the image, as with --firmware"`
}

// Target is a core and what is special to it. In the file it may be BOARD/MCU alone.
type Target struct {
	Board, MCU string
	Args       map[string]Text
}

// targetMapping is the long form of a target.
type targetMapping struct {
	Target string          `yaml:"target" json:"target" jsonschema:"BOARD/MCU, or BOARD where it has one kind of core"`
	Args   map[string]Text `yaml:"args" json:"args,omitempty" jsonschema:"build arguments for this target alone"`
}

// Text is a scalar as it is written: 010 and true stay what they are.
type Text string

// PositionError is a mistake in a file, at a line and a column that count from 1.
type PositionError struct {
	File         string
	Line, Column int
	Message      string
}

func (e *PositionError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Load reads the file in folder; nil if there is none. A mistake in it is a
// *PositionError.
func Load(folder string) (*File, error) {
	name := filepath.Join(folder, FileName)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", name, maxFile)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, text)
}

// Parse parses the text of a file; name is for messages.
func Parse(name string, text []byte) (*File, error) {
	f := &File{}
	err := yaml.UnmarshalWithOptions(text, f, yaml.Strict())
	if err == nil {
		return f, f.check(name, text)
	}
	var positioned yaml.Error
	if errors.As(err, &positioned) {
		e := &PositionError{File: name, Line: 1, Column: 1, Message: plain(positioned)}
		if t := positioned.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
		}
		return nil, e
	}
	return nil, fmt.Errorf("%s: %s", name, oneLine(err.Error()))
}

// check refuses values that are no names of what they should be.
func (f *File) check(name string, text []byte) error {
	bad := map[string]error{}
	if f.Name != "" {
		if _, err := reference.ParseNormalizedNamed(f.Name); err != nil {
			bad["name"] = fmt.Errorf("image name %q: %w", f.Name, err)
		}
	}
	if f.SDK != "" {
		bad["sdk"] = sdk.Known(f.SDK)
	}
	for _, key := range []string{"name", "sdk"} {
		if bad[key] == nil {
			continue
		}
		e := &PositionError{File: name, Line: 1, Column: 1, Message: bad[key].Error()}
		if path, err := yaml.PathString("$." + key); err == nil {
			if node, err := path.ReadNode(bytes.NewReader(text)); err == nil {
				e.Line, e.Column = node.GetToken().Position.Line, node.GetToken().Position.Column
			}
		}
		return e
	}
	return nil
}

// plain is what a mistake is, without the words of Go.
func plain(err yaml.Error) string {
	keys := []string{"name", "sdk", "targets", "target", "pack", "args", "firmware"}
	var wrong *yaml.TypeError
	var unknown *yaml.UnknownFieldError
	switch {
	case errors.As(err, &wrong) && wrong.DstType.Kind() == reflect.Bool:
		return "want true or false"
	case errors.As(err, &wrong) && wrong.DstType.Kind() == reflect.String:
		return "want a text"
	case errors.As(err, &unknown):
		message := oneLine(unknown.GetMessage())
		if t := unknown.GetToken(); t != nil {
			if near, ok := suggest.Search(t.Value, keys, true); ok {
				return fmt.Sprintf("%s, did you mean %s?", message, near)
			}
		}
		return message
	}
	return oneLine(err.GetMessage())
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// mistake is an error at a node.
func mistake(at ast.Node, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: at.GetToken()}
}

// UnmarshalYAML accepts both forms of a target, and looks the core up.
func (t *Target) UnmarshalYAML(node ast.Node) error {
	m := targetMapping{}
	at := node
	switch n := node.(type) {
	case *ast.StringNode:
		m.Target = n.Value
	case *ast.MappingNode:
		if err := yaml.NodeToValue(node, &m, yaml.Strict()); err != nil {
			return err
		}
		at = valueOf(n, "target")
	case *ast.MappingValueNode:
		if err := yaml.NodeToValue(node, &m, yaml.Strict()); err != nil {
			return err
		}
		at = n.Value
	default:
		return mistake(node, "want BOARD/MCU, or target: BOARD/MCU with args")
	}
	if at == nil || m.Target == "" {
		return mistake(node, "target is missing: want BOARD/MCU")
	}
	name, mcu, _ := strings.Cut(m.Target, "/")
	known, err := board.Lookup(name)
	if err != nil {
		return mistake(at, "%v", err)
	}
	if _, err := known.Core(mcu); err != nil {
		return mistake(at, "%v", err)
	}
	*t = Target{Board: name, MCU: mcu, Args: m.Args}
	return nil
}

// valueOf is the value of a key of a mapping, nil if there is none.
func valueOf(m *ast.MappingNode, key string) ast.Node {
	for _, v := range m.Values {
		if v.Key.String() == key {
			return v.Value
		}
	}
	return nil
}

// UnmarshalYAML takes a scalar as it is written.
func (t *Text) UnmarshalYAML(node ast.Node) error {
	switch n := node.(type) {
	case *ast.StringNode:
		*t = Text(n.Value)
	case *ast.LiteralNode:
		*t = Text(n.Value.Value)
	case *ast.NullNode:
		*t = ""
	case ast.ScalarNode:
		*t = Text(n.GetToken().Value)
	default:
		return mistake(node, "want a text or a number")
	}
	return nil
}
