package yaml

import (
	"slices"
	"strings"
)

// flow reads a list or mapping in brackets, which may go over several lines.
func (p *parser) flow(text string, depth int) (*Node, error) {
	f := &flow{text: text, line: p.lines[0].number}
	for _, raw := range p.raw[f.line:] {
		f.text += "\n" + raw
	}
	node, err := f.node(depth)
	if err != nil {
		return nil, err
	}
	rest, _, _ := strings.Cut(f.text, "\n")
	if !isComment(rest) {
		return nil, Errorf(f.line, "%q behind the closing bracket", strings.TrimSpace(rest))
	}
	for len(p.lines) > 0 && p.lines[0].number <= f.line {
		p.lines = p.lines[1:]
	}
	return node, nil
}

// flow is what is left of a document, from a bracket on.
type flow struct {
	text string
	line int
}

// skip skips blanks, line ends and comments; it reports whether something is left.
func (f *flow) skip() bool {
	for blank := false; f.text != ""; {
		switch f.text[0] {
		case '\n':
			f.line++
		case ' ', '\t':
		case '#':
			if !blank {
				return true
			}
			rest := strings.IndexByte(f.text, '\n')
			if rest < 0 {
				rest = len(f.text)
			}
			f.text = f.text[rest:]
			continue
		default:
			return true
		}
		blank = true
		f.text = f.text[1:]
	}
	return false
}

func (f *flow) node(depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, Errorf(f.line, "nested deeper than %d", maxDepth)
	}
	if f.text[0] != '[' && f.text[0] != '{' {
		line := f.line
		value, isQuoted, err := f.scalar()
		switch {
		case err != nil:
			return nil, err
		case isQuoted:
			return &Node{Kind: Scalar, Line: line, Value: value}, nil
		}
		return scalar(line, value), nil
	}
	node, end := &Node{Kind: List, Line: f.line}, byte(']')
	if f.text[0] == '{' {
		node.Kind, end = Mapping, '}'
	}
	start := f.line
	f.text = f.text[1:]
	for {
		if !f.skip() {
			return nil, Errorf(start, "no closing %c", end)
		}
		if f.text[0] == end {
			f.text = f.text[1:]
			return node, nil
		}
		if err := f.element(node, depth); err != nil {
			return nil, err
		}
		if !f.skip() {
			return nil, Errorf(start, "no closing %c", end)
		}
		switch f.text[0] {
		case ',':
			f.text = f.text[1:]
		case end:
		default:
			return nil, Errorf(f.line, "want , or %c", end)
		}
	}
}

// element reads an item of a list, or a key of a mapping and its value.
func (f *flow) element(node *Node, depth int) error {
	if node.Kind == List {
		item, err := f.node(depth + 1)
		node.Items = append(node.Items, item)
		return err
	}
	line := f.line
	key, _, err := f.scalar()
	if err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(f.text, " \t"), ":")
	if !ok || key == "" {
		return Errorf(f.line, "want KEY: VALUE")
	}
	f.text = rest
	if slices.ContainsFunc(node.Fields, func(f Field) bool { return f.Key == key }) {
		return Errorf(line, "%s is there twice", key)
	}
	value := &Node{Line: line}
	if f.skip() && f.text[0] != ',' && f.text[0] != '}' {
		if value, err = f.node(depth + 1); err != nil {
			return err
		}
	}
	node.Fields = append(node.Fields, Field{key, line, value})
	return nil
}

// scalar reads a key or a value up to what ends it.
func (f *flow) scalar() (value string, isQuoted bool, err error) {
	if f.text[0] == '"' || f.text[0] == '\'' {
		line, _, _ := strings.Cut(f.text, "\n")
		value, rest, err := quoted(f.line, line)
		f.text = f.text[len(line)-len(rest):]
		return value, true, err
	}
	end := len(f.text)
	for i := range len(f.text) {
		c := f.text[i]
		after := f.text[min(i+1, len(f.text)):]
		if c == ':' && after != "" && strings.IndexByte(",[]{}", after[0]) >= 0 { // readers of YAML differ
			return "", false, Errorf(f.line, "want a blank behind the colon")
		}
		if strings.IndexByte(",[]{}\n", c) >= 0 ||
			(c == ':' && (after == "" || strings.IndexByte(" \t\n", after[0]) >= 0)) ||
			(c == '#' && i > 0 && strings.IndexByte(" \t", f.text[i-1]) >= 0) {
			end = i
			break
		}
	}
	value = strings.TrimRight(f.text[:end], " \t")
	f.text = f.text[end:]
	if value == "" {
		return "", false, Errorf(f.line, "want a value, have %q", f.text[:min(1, len(f.text))])
	}
	return value, false, plain(f.line, value)
}
