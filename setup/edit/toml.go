package edit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// TOML is the format of containerd and of podman.
type TOML struct{}

// Parse is Format's.
func (TOML) Parse(text []byte) (map[string]any, error) {
	doc := map[string]any{}
	if err := toml.Unmarshal(text, &doc); err != nil {
		line := 1
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, _ = at.Position()
			err = errors.New(strings.TrimPrefix(at.Error(), "toml: "))
		}
		return nil, &SyntaxError{line, err}
	}
	return doc, nil
}

// expression is a header or a key with its value.
type expression struct {
	keys       []string // from the root
	table      []string // that it stands in
	start, end int
	header     bool
	array      bool // in an array of tables, where no path leads
	inline     bool // its value is a table in braces
	within     *expression
	children   []*expression // of that table
}

// scan lists the expressions of a text that parses, those in braces after the one that
// they are in.
func scan(text []byte) ([]*expression, error) {
	var all []*expression
	var table []string
	array := false
	p := unstable.Parser{}
	p.Reset(text)
	for p.NextExpression() {
		n := p.Expression()
		switch n.Kind {
		case unstable.Table, unstable.ArrayTable:
			keys, first, last := keysOf(n)
			table, array = keys, n.Kind == unstable.ArrayTable || array && hasPrefix(keys, table)
			all = append(all, &expression{
				keys: keys, table: table, header: true, array: array,
				start: lineStart(text, first), end: lineEnd(text, last),
			})
		case unstable.KeyValue:
			all = addKeyValue(all, text, n, table, array, nil)
		}
	}
	return all, p.Error()
}

func addKeyValue(all []*expression, text []byte, n *unstable.Node, table []string, array bool, within *expression) []*expression {
	keys, first, _ := keysOf(n)
	e := &expression{
		keys: slices.Concat(table, keys), table: table, array: array, within: within,
		start: first, end: int(n.Raw.Offset) + len(strings.TrimRight(string(text[n.Raw.Offset:n.Raw.Offset+n.Raw.Length]), " \t")),
	}
	all = append(all, e)
	if within != nil {
		within.children = append(within.children, e)
	}
	if value := n.Value(); value.Kind == unstable.InlineTable {
		e.inline = true
		for it := value.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				all = addKeyValue(all, text, it.Node(), e.keys, array, e)
			}
		}
	}
	return all
}

// keysOf are the parts of a dotted key, and where it begins and ends.
func keysOf(n *unstable.Node) (keys []string, first, last int) {
	for it := n.Key(); it.Next(); {
		k := it.Node()
		if keys == nil {
			first = int(k.Raw.Offset)
		}
		last = int(k.Raw.Offset + k.Raw.Length)
		keys = append(keys, string(k.Data))
	}
	return keys, first, last
}

func (TOML) insert(text []byte, path []string, value any) (Insertion, error) {
	all, err := scan(text)
	if err != nil {
		return Insertion{}, err
	}
	parent, key := path[:len(path)-1], path[len(path)-1]
	nl := newline(text)
	// a table in braces is closed: nothing can be added to it from outside
	if e := deepest(all, parent); e != nil {
		member := dotted(path[len(e.keys):]) + " = " + inline(value)
		if n := len(e.children); n > 0 {
			return Insertion{e.children[n-1].end, ", " + member}, nil
		}
		open := e.end - 1 - len(inside(text[e.start:e.end]))
		if text[open] == '}' {
			member += " "
		}
		return Insertion{open, " " + member}, nil
	}
	table, isTable := value.(map[string]any)
	if len(parent) == 0 && !isTable { // before all tables
		return Insertion{0, dotted(path) + " = " + inline(value) + nl}, nil
	}
	if !isTable {
		for i, e := range all {
			if e.array || !e.header || !slices.Equal(e.keys, parent) {
				continue
			}
			last, indent := e, indentOf(text, e.start)
			for _, next := range all[i+1:] {
				if next.header {
					break
				}
				if next.within == nil {
					last, indent = next, indentOf(text, next.start)
				}
			}
			return line(text, last, indent+dotted([]string{key})+" = "+inline(value), nl), nil
		}
		for _, e := range slices.Backward(all) { // a table of dotted keys
			if !e.array && !e.header && e.within == nil && len(e.keys) > len(parent) && len(e.table) < len(parent) && hasPrefix(e.keys, parent) {
				return line(text, e, indentOf(text, e.start)+dotted(path[len(e.table):])+" = "+inline(value), nl), nil
			}
		}
		table, path = map[string]any{key: value}, parent
	}
	var b strings.Builder
	if n := len(text); n > 0 {
		if text[n-1] != '\n' {
			b.WriteString(nl)
		}
		if lines := strings.TrimRight(string(text), " \t\r"); !strings.HasSuffix(lines, "\n\n") && !strings.HasSuffix(lines, "\n\r\n") {
			b.WriteString(nl)
		}
	}
	writeTable(&b, path, table, "", step(text), nl)
	return Insertion{len(text), b.String()}, nil
}

// deepest is the expression with the longest path to parent that is a table in braces.
func deepest(all []*expression, parent []string) *expression {
	var found *expression
	for _, e := range all {
		if e.inline && !e.array && hasPrefix(parent, e.keys) && (found == nil || len(e.keys) > len(found.keys)) {
			found = e
		}
	}
	return found
}

// inside is what is between the braces of an empty table, and the closing one.
func inside(e []byte) string {
	s := string(e[:len(e)-1])
	return s[strings.LastIndexByte(s, '{')+1:]
}

// indentOf is the white space that a line begins with.
func indentOf(text []byte, at int) string {
	s := string(text[lineStart(text, at):])
	return s[:len(s)-len(strings.TrimLeft(s, " \t"))]
}

// line is a line after the one that an expression ends on.
func line(text []byte, after *expression, s, nl string) Insertion {
	at := after.end
	if !after.header {
		at = lineEnd(text, after.end)
	}
	if at > 0 && text[at-1] != '\n' {
		return Insertion{at, nl + s}
	}
	return Insertion{at, s + nl}
}

// writeTable writes a table under a header, and those below it under theirs.
func writeTable(b *strings.Builder, path []string, table map[string]any, indent, step, nl string) {
	fmt.Fprintf(b, "%s[%s]%s", indent, dotted(path), nl)
	for _, k := range ordered(table) {
		if below, ok := table[k].(map[string]any); ok {
			writeTable(b, slices.Concat(path, []string{k}), below, indent+step, step, nl)
			continue
		}
		fmt.Fprintf(b, "%s%s = %s%s", indent+step, dotted([]string{k}), inline(table[k]), nl)
	}
}

// ordered are the keys of a table: first those of values, then those of tables.
func ordered(table map[string]any) []string {
	return slices.SortedFunc(maps.Keys(table), func(a, b string) int {
		_, tableA := table[a].(map[string]any)
		_, tableB := table[b].(map[string]any)
		switch {
		case tableA == tableB:
			return strings.Compare(a, b)
		case tableA:
			return 1
		}
		return -1
	})
}

// step is how far a table is indented below another.
func step(text []byte) string {
	if strings.HasPrefix(indentation(text), "\t") {
		return "\t"
	}
	return "  "
}

// dotted is a path as a key.
func dotted(path []string) string {
	var parts []string
	for _, k := range path {
		if k == "" || strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			k = quoted(k)
		}
		parts = append(parts, k)
	}
	return strings.Join(parts, ".")
}

// inline is a value on one line.
func inline(value any) string {
	switch v := value.(type) {
	case string:
		return quoted(v)
	case Action:
		return string(v)
	case []any:
		var items []string
		for _, i := range v {
			items = append(items, inline(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		var fields []string
		for _, k := range ordered(v) {
			fields = append(fields, dotted([]string{k})+" = "+inline(v[k]))
		}
		return "{ " + strings.Join(fields, ", ") + " }"
	}
	return fmt.Sprint(value)
}

// quoted is a basic string.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteString(`\u00` + strconv.FormatInt(int64(r)+0x100, 16)[1:])
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (TOML) remove(text []byte, path []string) ([]byte, error) {
	all, err := scan(text)
	if err != nil {
		return nil, err
	}
	var cuts []cut
	add := func(c cut) {
		if n := len(cuts); n > 0 && c.from <= cuts[n-1].to {
			cuts[n-1].to = max(cuts[n-1].to, c.to)
			return
		}
		cuts = append(cuts, c)
	}
	below := false // in a table that goes
	for _, e := range all {
		switch {
		case e.array:
			below = false
		case e.header:
			if hasPrefix(e.keys, path) {
				c := cut{e.start, e.end}
				if n := len(cuts); n > 0 && below { // with what is between
					c.from = cuts[n-1].to
				}
				add(c)
				below = true
				continue
			}
			below = false
		case !hasPrefix(e.keys, path) || e.within != nil && hasPrefix(e.within.keys, path):
		case e.within == nil:
			c := cut{lineStart(text, e.start), lineEnd(text, e.end)}
			if n := len(cuts); n > 0 && below {
				c.from = cuts[n-1].to // comments between the lines
			}
			add(c)
		default:
			add(memberOf(e.within.children, e))
		}
	}
	for i := range cuts { // of two blank lines around it one is enough, and at the end none
		c := &cuts[i]
		if c.from == 0 || lineStart(text, c.from) != c.from {
			continue
		}
		above := lineStart(text, c.from-1)
		rest := strings.TrimLeft(string(text[c.to:lineEnd(text, c.to)]), " \t\r\n")
		if strings.TrimSpace(string(text[above:c.from])) == "" && rest == "" && (i == 0 || above >= cuts[i-1].to) {
			c.from = above
		}
	}
	return cutAll(text, cuts), nil
}

// memberOf is the range of a member of a table in braces, with its comma.
func memberOf(members []*expression, e *expression) cut {
	switch i := slices.Index(members, e); {
	case i > 0:
		return cut{members[i-1].end, e.end}
	case len(members) > 1:
		return cut{e.start, members[1].start}
	}
	return cut{e.start, e.end}
}
