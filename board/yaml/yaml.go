// Package yaml reads the part of YAML that people write by hand in a short file:
// mappings, lists and scalars, by indentation or in brackets, quoted or not, with
// comments. Anchors, tags, text over several lines and several documents are errors
// that say so. It exists because the runtime reads such files and a library for all of
// YAML is as large as half of the runtime.
package yaml

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth is how deep lists and mappings may be in each other.
const maxDepth = 32

// Kind is what a node is.
type Kind uint8

// The kinds. A null is a value that is left out.
const (
	Null Kind = iota
	Scalar
	List
	Mapping
)

func (k Kind) String() string {
	return [...]string{"nothing", "a value", "a list", "a mapping"}[k]
}

// Node is a value and where it is.
type Node struct {
	Kind   Kind
	Line   int
	Value  string  // of a scalar
	Items  []*Node // of a list
	Fields []Field // of a mapping, in their order
}

// Field is a key of a mapping and its value.
type Field struct {
	Key  string
	Line int
	*Node
}

// Error is what is wrong, and where.
type Error struct {
	Line   int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.Line, e.Reason) }

// Errorf makes an *Error.
func Errorf(line int, format string, args ...any) error {
	return &Error{line, fmt.Sprintf(format, args...)}
}

// line is one with something on it.
type line struct {
	number int // from 1
	indent int
	text   string // without indentation
}

type parser struct {
	raw   []string // all lines
	lines []line   // those that are left
}

// Parse reads a document. All errors are of type *Error.
func Parse(text string) (*Node, error) {
	p := &parser{raw: strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")}
	for i, raw := range p.raw {
		raw = strings.TrimSuffix(raw, "\r")
		p.raw[i] = raw
		if !utf8.ValidString(raw) {
			return nil, Errorf(i+1, "not UTF-8")
		}
		if strings.ContainsFunc(raw, isControl) {
			return nil, Errorf(i+1, "a control character")
		}
		content := strings.TrimLeft(raw, " ")
		if content = strings.TrimRight(content, " \t"); content == "" || content[0] == '#' {
			continue
		}
		indent := len(raw) - len(strings.TrimLeft(raw, " "))
		if content[0] == '\t' {
			if content = strings.TrimLeft(content, " \t"); content == "" || content[0] == '#' {
				continue
			}
			return nil, Errorf(i+1, "indented by a tab: want spaces")
		}
		p.lines = append(p.lines, line{i + 1, indent, content})
	}
	if err := p.marks(); err != nil {
		return nil, err
	}
	if len(p.lines) == 0 {
		return &Node{Line: 1}, nil
	}
	node, err := p.block(p.lines[0].indent, 0)
	if err != nil {
		return nil, err
	}
	if len(p.lines) > 0 {
		return nil, Errorf(p.lines[0].number, "unexpected indentation")
	}
	return node, nil
}

// isControl reports what is no text: control characters, and what some readers take for
// the end of a line or of nothing.
func isControl(r rune) bool {
	return (unicode.IsControl(r) && r != '\t') || r == '\u2028' || r == '\u2029' || r == '\ufeff'
}

// marks takes the marks of the document's beginning and end, --- and ..., which stand
// alone.
func (p *parser) marks() error {
	last := len(p.lines) - 1
	for i, l := range p.lines {
		mark := l.text[:min(3, len(l.text))]
		rest := l.text[len(mark):]
		switch {
		case l.indent > 0, mark != "---" && mark != "...", rest != "" && rest[0] != ' ' && rest[0] != '\t':
			continue
		case !isComment(rest):
			return Errorf(l.number, "%s stands alone on its line", mark)
		case (mark == "---" && i > 0) || (mark == "..." && i < last):
			return Errorf(l.number, "a second document: want one")
		case mark == "---":
			defer func() { p.lines = p.lines[1:] }()
		default:
			defer func() { p.lines = p.lines[:len(p.lines)-1] }()
		}
	}
	return nil
}

// isComment reports whether what follows a value is nothing or a comment.
func isComment(rest string) bool {
	trimmed := strings.TrimLeft(rest, " \t")
	return trimmed == "" || (trimmed[0] == '#' && len(trimmed) < len(rest))
}

// next is the line that is to be read, if it is indented by at least indent.
func (p *parser) next(indent int) (line, bool) {
	if len(p.lines) == 0 || p.lines[0].indent < indent {
		return line{}, false
	}
	return p.lines[0], true
}

// block reads a list, a mapping or a value that starts at the next line.
func (p *parser) block(indent, depth int) (*Node, error) {
	l := p.lines[0]
	if depth > maxDepth {
		return nil, Errorf(l.number, "nested deeper than %d", maxDepth)
	}
	if isItem(l.text) {
		return p.list(indent, depth)
	}
	if _, _, ok, err := splitKey(l); err != nil {
		return nil, err
	} else if ok {
		return p.mapping(indent, depth)
	}
	return p.value(l.text, depth)
}

func isItem(text string) bool {
	return text == "-" || strings.HasPrefix(text, "- ") || strings.HasPrefix(text, "-\t")
}

func (p *parser) list(indent, depth int) (*Node, error) {
	node := &Node{Kind: List, Line: p.lines[0].number}
	for {
		l, ok := p.next(indent)
		if !ok || (l.indent == indent && !isItem(l.text)) {
			return node, nil
		}
		if l.indent > indent {
			return nil, Errorf(l.number, "unexpected indentation")
		}
		rest := strings.TrimLeft(l.text[1:], " \t")
		var item *Node
		var err error
		if rest == "" || rest[0] == '#' {
			item, err = p.below(l, indent+1, depth)
		} else {
			// what stands behind the dash is indented by as much as it stands
			p.lines[0] = line{l.number, indent + len(l.text) - len(rest), rest}
			item, err = p.block(p.lines[0].indent, depth+1)
		}
		if err != nil {
			return nil, err
		}
		node.Items = append(node.Items, item)
	}
}

func (p *parser) mapping(indent, depth int) (*Node, error) {
	node := &Node{Kind: Mapping, Line: p.lines[0].number}
	for {
		l, ok := p.next(indent)
		if !ok {
			return node, nil
		}
		if l.indent > indent {
			return nil, Errorf(l.number, "unexpected indentation")
		}
		key, rest, ok, err := splitKey(l)
		switch {
		case err != nil:
			return nil, err
		case isItem(l.text), !ok:
			return nil, Errorf(l.number, "want KEY: VALUE")
		case slices.ContainsFunc(node.Fields, func(f Field) bool { return f.Key == key }):
			return nil, Errorf(l.number, "%s is there twice", key)
		}
		var value *Node
		if isComment(rest) {
			value, err = p.under(l, indent, depth)
		} else {
			value, err = p.value(strings.TrimLeft(rest, " \t"), depth)
		}
		if err != nil {
			return nil, err
		}
		node.Fields = append(node.Fields, Field{key, l.number, value})
	}
}

// under reads the value of a key that has none on its own line. The items of a list
// may stand below the key.
func (p *parser) under(l line, indent, depth int) (*Node, error) {
	if len(p.lines) > 1 && p.lines[1].indent == indent && isItem(p.lines[1].text) {
		p.lines = p.lines[1:]
		return p.list(indent, depth+1)
	}
	return p.below(l, indent+1, depth)
}

// below reads what is on the lines after l, if it is indented by at least indent.
func (p *parser) below(l line, indent, depth int) (*Node, error) {
	p.lines = p.lines[1:]
	if next, ok := p.next(indent); ok {
		return p.block(next.indent, depth+1)
	}
	return &Node{Line: l.number}, nil
}

// splitKey splits KEY: VALUE; ok is false if it is not that.
func splitKey(l line) (key, rest string, ok bool, err error) {
	if l.text[0] == '"' || l.text[0] == '\'' {
		key, rest, err := quoted(l.number, l.text)
		if err != nil {
			return "", "", false, err
		}
		rest, ok := strings.CutPrefix(rest, ":")
		return key, rest, ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t'), nil
	}
	if strings.ContainsRune("[{", rune(l.text[0])) {
		return "", "", false, nil
	}
	for i := range len(l.text) {
		switch after := l.text[i+1:]; {
		case l.text[i] == '#' && i > 0 && (l.text[i-1] == ' ' || l.text[i-1] == '\t'):
			return "", "", false, nil
		case l.text[i] == ':' && (after == "" || after[0] == ' ' || after[0] == '\t'):
			key := strings.TrimRight(l.text[:i], " \t")
			return key, after, true, plain(l.number, key)
		}
	}
	return "", "", false, nil
}

// value reads a value that begins on the next line with text, and takes the line.
func (p *parser) value(text string, depth int) (*Node, error) {
	l := p.lines[0]
	switch text[0] {
	case '[', '{':
		return p.flow(text, depth)
	case '"', '\'':
		value, rest, err := quoted(l.number, text)
		if err != nil {
			return nil, err
		}
		if !isComment(rest) {
			return nil, Errorf(l.number, "%q behind the closing quote", strings.TrimSpace(rest))
		}
		p.lines = p.lines[1:]
		return &Node{Kind: Scalar, Line: l.number, Value: value}, nil
	}
	for i := 1; i < len(text); i++ {
		if text[i] == '#' && (text[i-1] == ' ' || text[i-1] == '\t') {
			text = strings.TrimRight(text[:i], " \t")
			break
		}
	}
	if err := plain(l.number, text); err != nil {
		return nil, err
	}
	if isItem(text) {
		return nil, Errorf(l.number, "a list starts on a line of its own")
	}
	if strings.Contains(text, ": ") || strings.Contains(text, ":\t") || strings.HasSuffix(text, ":") {
		return nil, Errorf(l.number, "a second key in a line: quote a value with a colon")
	}
	p.lines = p.lines[1:]
	return scalar(l.number, text), nil
}

func scalar(number int, text string) *Node {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return &Node{Line: number}
	}
	return &Node{Kind: Scalar, Line: number, Value: text}
}

// plain refuses what means something else in YAML than it says.
func plain(number int, text string) error {
	if text == "" {
		return Errorf(number, "want a key before the colon")
	}
	switch text[0] {
	case '&', '*', '!':
		return Errorf(number, "%s: anchors, aliases and tags are not supported: quote it", text)
	case '|', '>':
		return Errorf(number, "text over several lines is not supported: quote it")
	case '%', '@', '`', '?', ',', '[', ']', '{', '}', '#':
		return Errorf(number, "%s: quote what starts with %c", text, text[0])
	}
	return nil
}

// quoted reads a string in quotes from the beginning of text.
func quoted(number int, text string) (value, rest string, err error) {
	quote := text[0]
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote && quote == '\'' && strings.HasPrefix(text[i+1:], "'"):
			b.WriteByte('\'')
			i++
		case c == quote:
			return b.String(), text[i+1:], nil
		case c == '\\' && quote == '"':
			r, _, tail, err := strconv.UnquoteChar(text[i:], '"')
			if err != nil || !strings.ContainsRune(`"\ntxuU`, rune(text[i+1])) {
				return "", "", Errorf(number, "an escape in quotes that is not one of \\\" \\\\ \\n \\t \\xNN \\uNNNN: %s", text)
			}
			b.WriteRune(r)
			i = len(text) - len(tail) - 1
		default:
			b.WriteByte(c)
		}
	}
	return "", "", Errorf(number, "no closing quote: %s", text)
}
