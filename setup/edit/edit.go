// Package edit changes one setting in the text of a configuration file and leaves every
// other byte as it is: comments, order, indentation, the ends of lines. What it makes
// is parsed again before it is handed out, and may differ in that setting alone.
package edit

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Format is how a file is written.
type Format interface {
	// Parse takes a text apart; the error is a *SyntaxError.
	Parse(text []byte) (map[string]any, error)
	// insert is where a setting goes, and what is written there.
	insert(text []byte, path []string, value any) (Insertion, error)
	// remove takes a setting out that is there.
	remove(text []byte, path []string) ([]byte, error)
}

// SyntaxError reports a text that does not parse.
type SyntaxError struct {
	Line int
	Err  error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *SyntaxError) Unwrap() error { return e.Err }

// ErrInexact reports a text in which the setting cannot be changed alone.
var ErrInexact = errors.New("the setting cannot be changed without changing others")

// Insertion is text that is put in at one place.
type Insertion struct {
	At   int
	Text string
}

// Apply puts the text in.
func (i Insertion) Apply(text []byte) []byte {
	return slices.Concat(text[:i.At:i.At], []byte(i.Text), text[i.At:])
}

// Get is the value of a setting, nil if it is not there.
func Get(doc map[string]any, path ...string) any {
	var v any = doc
	for _, key := range path {
		table, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		if v, ok = table[key]; !ok {
			return nil
		}
	}
	return v
}

// Insert is how a setting gets into a text that has none at this path. Values are
// strings, booleans, integers, lists of strings, and tables of these.
func Insert(f Format, text []byte, path []string, value any) (Insertion, error) {
	before, err := f.Parse(text)
	if err != nil {
		return Insertion{}, err
	}
	i, err := f.insert(text, path, value)
	if err != nil {
		return Insertion{}, err
	}
	after, err := f.Parse(i.Apply(text))
	if err != nil {
		return Insertion{}, fmt.Errorf("%w: %w", ErrInexact, err)
	}
	if !reflect.DeepEqual(Get(after, path...), value) || !sameBut(before, after, path) {
		return Insertion{}, ErrInexact
	}
	return i, nil
}

// Remove takes a setting out. What insertion wrote goes literally, if it is still there
// as it was written; else the setting goes, as whoever has changed it has written it.
func Remove(f Format, text []byte, path []string, insertion string) ([]byte, error) {
	before, err := f.Parse(text)
	if err != nil {
		return nil, err
	}
	exact := func(after []byte) bool {
		doc, err := f.Parse(after)
		return err == nil && Get(doc, path...) == nil && sameBut(before, doc, path)
	}
	if s := string(text); insertion != "" && strings.Count(s, insertion) == 1 {
		if after := []byte(strings.Replace(s, insertion, "", 1)); exact(after) {
			return after, nil
		}
	}
	after, err := f.remove(text, path)
	if err != nil {
		return nil, err
	}
	if !exact(after) {
		return nil, ErrInexact
	}
	return after, nil
}

// sameBut compares all but one setting. Tables above it that hold nothing else may
// come and go.
func sameBut(a, b map[string]any, path []string) bool {
	return reflect.DeepEqual(without(a, path), without(b, path))
}

func without(doc map[string]any, path []string) map[string]any {
	doc = maps.Clone(doc)
	if len(path) == 1 {
		delete(doc, path[0])
		return doc
	}
	if below, ok := doc[path[0]].(map[string]any); ok {
		if below = without(below, path[1:]); len(below) > 0 {
			doc[path[0]] = below
		} else {
			delete(doc, path[0])
		}
	}
	return doc
}

// hasPrefix reports whether a path is at or below another.
func hasPrefix(path, prefix []string) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

// newline is how the lines of a text end.
func newline(text []byte) string {
	if before, _, found := strings.Cut(string(text), "\n"); found && strings.HasSuffix(before, "\r") {
		return "\r\n"
	}
	return "\n"
}

// indentation is that of the first line that has one.
func indentation(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if rest := strings.TrimLeft(line, " \t"); len(rest) < len(line) && strings.TrimSpace(rest) != "" {
			return line[:len(line)-len(rest)]
		}
	}
	return "  "
}

// lineStart is where the line of an offset begins, lineEnd where the next one does.
func lineStart(text []byte, at int) int {
	return strings.LastIndexByte(string(text[:at]), '\n') + 1
}

func lineEnd(text []byte, at int) int {
	if n := strings.IndexByte(string(text[at:]), '\n'); n >= 0 {
		return at + n + 1
	}
	return len(text)
}

// cut is a range of a text that goes.
type cut struct{ from, to int }

// cutAll takes ranges out, that are in order.
func cutAll(text []byte, cuts []cut) []byte {
	var kept []byte
	at := 0
	for _, c := range cuts {
		kept = append(kept, text[at:c.from]...)
		at = c.to
	}
	return append(kept, text[at:]...)
}
