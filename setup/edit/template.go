package edit

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/pelletier/go-toml/v2"
)

// Template is the format of k3s: a text/template of a TOML file. What it makes is not
// known here, so only lines are looked at, and only whole tables are put in.
type Template struct{}

// Action is a value that the template computes, braces included.
type Action string

// templateLine is where the errors of text/template say which line it is.
var templateLine = regexp.MustCompile(`^template: [^:]*:(\d+):(?:\d+:)? (.*)$`)

// Parse is Format's. The document holds what can be seen without making the file.
func (Template) Parse(text []byte) (map[string]any, error) {
	tree := parse.New("configuration")
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(string(text), "", "", map[string]*parse.Tree{}); err != nil {
		line := 1
		if m := templateLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1]) // digits
			err = errors.New(m[2])
		}
		return nil, &SyntaxError{line, err}
	}
	doc := map[string]any{}
	table := doc
	for line := range strings.Lines(string(text)) {
		keys, value, header := lineOf(line)
		switch {
		case keys == nil:
		case header:
			table = tableAt(doc, keys)
		default:
			tableAt(table, keys[:len(keys)-1])[keys[len(keys)-1]] = value
		}
	}
	return doc, nil
}

// tableAt is the table at a path, made if it is not there.
func tableAt(table map[string]any, path []string) map[string]any {
	for _, key := range path {
		below, ok := table[key].(map[string]any)
		if !ok {
			below = map[string]any{}
			table[key] = below
		}
		table = below
	}
	return table
}

// lineOf is a header, or a key with its value, that is a line by itself; no keys if it
// is neither, or cannot be told.
func lineOf(line string) (keys []string, value any, header bool) {
	line = strings.TrimSpace(line)
	if key, action, ok := strings.Cut(line, "="); ok {
		if action = strings.TrimSpace(action); strings.HasPrefix(action, "{{") && strings.HasSuffix(action, "}}") {
			line, value = key+"= 0", Action(action)
		}
	}
	if strings.Contains(line, "{{") {
		return nil, nil, false
	}
	all, err := scan([]byte(line))
	if err != nil || len(all) != 1 && (len(all) == 0 || all[1].within == nil) {
		return nil, nil, false
	}
	if value == nil && !all[0].header {
		doc := map[string]any{}
		if err := toml.Unmarshal([]byte(line), &doc); err != nil {
			return nil, nil, false
		}
		value = Get(doc, all[0].keys...)
	}
	return all[0].keys, value, all[0].header
}

func (Template) insert(text []byte, path []string, value any) (Insertion, error) {
	table, ok := value.(map[string]any)
	if !ok {
		return Insertion{}, fmt.Errorf("%w: only tables go into a template", ErrInexact)
	}
	nl := newline(text)
	var b strings.Builder
	if n := len(text); n > 0 {
		trimmed := strings.TrimSpace(string(text))
		switch {
		case strings.HasSuffix(trimmed, "-}}"): // it takes the white space that follows
			b.WriteString(nl + `{{ "\n" }}` + nl)
		case text[n-1] != '\n':
			b.WriteString(nl + nl)
		case !strings.HasSuffix(strings.ReplaceAll(string(text), "\r", ""), "\n\n"):
			b.WriteString(nl)
		}
	}
	writeTable(&b, path, table, "", step(text), nl)
	return Insertion{len(text), b.String()}, nil
}

func (Template) remove(text []byte, path []string) ([]byte, error) {
	var kept strings.Builder
	below := false
	for line := range strings.Lines(string(text)) {
		keys, _, header := lineOf(line)
		switch {
		case header:
			below = hasPrefix(keys, path)
		case keys == nil && strings.Contains(line, "{{"):
			below = false // an action may decide on what follows
		}
		if !below {
			kept.WriteString(line)
		}
	}
	return []byte(kept.String()), nil
}
