package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// JSON is the format of Docker, which takes no comments, so neither do we.
type JSON struct{}

// Parse is Format's. An empty text is an empty object, as it is for Docker.
func (JSON) Parse(text []byte) (map[string]any, error) {
	doc := map[string]any{}
	if len(bytes.TrimSpace(text)) == 0 {
		return doc, nil
	}
	fail := func(at int64, err error) error {
		at = min(max(at, 0), int64(len(text)))
		return &SyntaxError{bytes.Count(text[:at], []byte("\n")) + 1, err}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err := d.Decode(&doc)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		if at := min(max(syntax.Offset-1, 0), int64(len(text)-1)); text[at] == '/' || text[at] == '#' {
			err = errors.New("a comment, which Docker does not take")
		}
		return nil, fail(syntax.Offset-1, err)
	case errors.As(err, &kind):
		return nil, fail(kind.Offset-1, fmt.Errorf("want an object, have %s", kind.Value))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fail(int64(len(text)), errors.New("unexpected end of JSON input"))
	case err != nil:
		return nil, fail(d.InputOffset(), err)
	case doc == nil:
		return nil, fail(0, errors.New("want an object, have null"))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fail(d.InputOffset(), errors.New("something follows the object"))
	}
	return doc, nil
}

// object is an object in a text.
type object struct {
	open, close int // offsets of the braces
	members     []member
}

type member struct {
	key        string
	start, end int     // with its value
	object     *object // the value, if it is one
}

// last is the member that counts.
func (o *object) last(key string) *member {
	for i := len(o.members) - 1; i >= 0; i-- {
		if o.members[i].key == key {
			return &o.members[i]
		}
	}
	return nil
}

// locate finds the objects of a text that parses.
func locate(text []byte) (*object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return locateIn(d, text)
}

func locateIn(d *json.Decoder, text []byte) (*object, error) {
	o := &object{open: int(d.InputOffset()) - 1}
	for d.More() {
		start := int(d.InputOffset())
		start += bytes.IndexByte(text[start:], '"')
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{start: start}
		m.key, _ = key.(string)
		at := int(d.InputOffset())
		if rest := bytes.TrimLeft(text[at:], " \t\r\n:"); bytes.HasPrefix(rest, []byte("{")) {
			if _, err := d.Token(); err != nil {
				return nil, err
			}
			if m.object, err = locateIn(d, text); err != nil {
				return nil, err
			}
		} else {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return nil, err
			}
		}
		m.end = int(d.InputOffset())
		o.members = append(o.members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	o.close = int(d.InputOffset()) - 1
	return o, nil
}

func (JSON) insert(text []byte, path []string, value any) (Insertion, error) {
	nl, step := newline(text), indentation(text)
	if len(bytes.TrimSpace(text)) == 0 {
		s := "{" + nl + step + pretty(path, value, step, step, nl) + nl + "}" + nl
		return Insertion{len(text), s}, nil
	}
	o, err := locate(text)
	if err != nil {
		return Insertion{}, err
	}
	// the outermost braces of a short file may be on one line, with nothing in between
	indent, lines := "", len(o.members) == 0
	for {
		if len(o.members) > 0 {
			lines = bytes.Contains(text[o.open:o.members[0].start], []byte("\n"))
			if lines {
				indent = indentOf(text, o.members[0].start)
			}
		} else if lines {
			indent += step
		}
		m := o.last(path[0])
		if m == nil {
			break
		}
		if m.object == nil {
			return Insertion{}, &SyntaxError{bytes.Count(text[:m.start], []byte("\n")) + 1, fmt.Errorf("%s: want an object", m.key)}
		}
		o, path = m.object, path[1:]
	}
	var s string
	if lines {
		s = nl + indent + pretty(path, value, indent, step, nl)
	} else {
		s = compact(path, value, bytes.Contains(text, []byte(`": `)))
		if len(o.members) > 0 && bytes.Contains(text, []byte(", ")) {
			s = " " + s
		}
	}
	if n := len(o.members); n > 0 {
		return Insertion{o.members[n-1].end, "," + s}, nil
	}
	if lines && !bytes.Contains(text[o.open:o.close], []byte("\n")) {
		s += nl + strings.TrimSuffix(indent, step)
	}
	return Insertion{o.open + 1, s}, nil
}

// pretty is a member on lines of its own, the first without its indentation.
func pretty(path []string, value any, indent, step, nl string) string {
	if len(path) > 1 {
		return quotedJSON(path[0]) + ": {" + nl + indent + step + pretty(path[1:], value, indent+step, step, nl) + nl + indent + "}"
	}
	table, ok := value.(map[string]any)
	if !ok {
		return quotedJSON(path[0]) + ": " + quotedJSON(value)
	}
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(table)) {
		lines = append(lines, indent+step+pretty([]string{k}, table[k], indent+step, step, nl))
	}
	return quotedJSON(path[0]) + ": {" + nl + strings.Join(lines, ","+nl) + nl + indent + "}"
}

// compact is a member on one line.
func compact(path []string, value any, spaces bool) string {
	colon, comma := ":", ","
	if spaces {
		colon, comma = ": ", ", "
	}
	if len(path) > 1 {
		return quotedJSON(path[0]) + colon + "{" + compact(path[1:], value, spaces) + "}"
	}
	table, ok := value.(map[string]any)
	if !ok {
		return quotedJSON(path[0]) + colon + quotedJSON(value)
	}
	var members []string
	for _, k := range slices.Sorted(maps.Keys(table)) {
		members = append(members, compact([]string{k}, table[k], spaces))
	}
	return quotedJSON(path[0]) + colon + "{" + strings.Join(members, comma) + "}"
}

// quotedJSON is a value that is no object; what a browser would misread is left alone.
func quotedJSON(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "null" // a value that Insert finds not to be the one that is wanted
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (JSON) remove(text []byte, path []string) ([]byte, error) {
	o, err := locate(text)
	if err != nil {
		return nil, err
	}
	for ; len(path) > 1; path = path[1:] {
		m := o.last(path[0])
		if m == nil || m.object == nil {
			return nil, ErrInexact
		}
		o = m.object
	}
	i := slices.IndexFunc(o.members, func(m member) bool { return m.key == path[0] })
	if i < 0 {
		return nil, ErrInexact
	}
	c := cut{o.open + 1, o.close}
	switch {
	case i > 0:
		c = cut{o.members[i-1].end, o.members[i].end}
	case len(o.members) > 1:
		c = cut{o.members[0].start, o.members[1].start}
	}
	return cutAll(text, []cut{c}), nil
}
