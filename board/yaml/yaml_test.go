package yaml

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	reference "go.yaml.in/yaml/v3"
)

// String is a node on one line.
func (n *Node) String() string {
	var parts []string
	switch n.Kind {
	case Null:
		return "null"
	case Scalar:
		return fmt.Sprintf("%q", n.Value)
	case List:
		for _, item := range n.Items {
			parts = append(parts, item.String())
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	for _, f := range n.Fields {
		parts = append(parts, fmt.Sprintf("%q:%s", f.Key, f.Node))
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// understood is the same of a node of the library.
func understood(n *reference.Node) string {
	var parts []string
	switch n.Kind {
	case reference.DocumentNode:
		return understood(n.Content[0])
	case reference.ScalarNode:
		if n.Tag == "!!null" {
			return "null"
		}
		return fmt.Sprintf("%q", n.Value)
	case reference.SequenceNode:
		for _, item := range n.Content {
			parts = append(parts, understood(item))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reference.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			parts = append(parts, fmt.Sprintf("%q:%s", n.Content[i].Value, understood(n.Content[i+1])))
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return "null"
}

var documents = []string{
	"",
	"# nothing\n\n---\n",
	"a: b",
	"---\na: b\n...\n",
	"\ufeffa: b\r\nc: d\r\n",
	"a: b # comment\nc: d#no comment\n# another\ne:   f   \n",
	"a: 'it''s' # x\nb: \"a \\\"b\\\" \\\\ \\n \\t \\x41 \\u00e9 # y\"\n'c d': e\n\"f: g\": h\n",
	"a:\n  b: c\n  d:\n    e: f\ng: h\n",
	"a:\n- b\n- c\nd:\n  - e\n  -   f\n",
	"- a: b\n  c: d\n-   e: f\n    g: h\n-\n  i: j\n-\n",
	"- - a\n  - b\n- - c\n",
	"- - a: b\n    c: d\n  - e\n",
	"a: [b, 'c,d', \"e\", ]\nf: {g: h, i: [j], k: , \"l\": m}\nn: []\no: {}\n",
	"a: [b, # comment\n  c,\n  {d: e}\n  ] # end\nf: g\n",
	"a:\nb: ~\nc: null\nd: ''\n",
	"a: b:c\nd: http://e/f#g\nh: -i\nj: 0x10\nk: acme,robot\n",
	"a:\n\n  # c\n  - b\n\n  # d\n  - e\n",
	"[a, b]\n",
	"{a: b}\n",
	"word\n",
	"'quoted'\n",
	"--- # c\n... # d\n",
	"---\n...a: ---b\n",
	"a: O'Brien's \"board\"\n",
	"a: \"[\"\nb: '{'\n",
}

// TestParse: what is read is what the library for all of YAML reads.
func TestParse(t *testing.T) {
	for _, text := range documents {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var want reference.Node
		if err := reference.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got, want := got.String(), understood(&want); got != want {
			t.Errorf("%q:\n%s, want\n%s", text, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\na: c":                     "2: a is there twice",
		"{a: b, a: c}":                   "1: a is there twice",
		"a: b\n  c: d":                   "2: unexpected indentation",
		"  a: b\nc: d":                   "2: unexpected indentation",
		"a: b\n  c":                      "2: unexpected indentation",
		"- a\n  - b":                     "2: unexpected indentation",
		"- a\nb: c":                      "2: unexpected indentation",
		"a: b\n- c":                      "2: want KEY: VALUE",
		"a: b\nc":                        "2: want KEY: VALUE",
		"a: b: c":                        "1: a second key in a line: quote a value with a colon",
		"a: - b":                         "1: a list starts on a line of its own",
		"a:\n\tb: c":                     "2: indented by a tab: want spaces",
		"a: 'b":                          "1: no closing quote: 'b",
		"a: \"b\\q\"":                    "1: an escape in quotes",
		"a: 'b' c":                       `1: "c" behind the closing quote`,
		"a: [b\nc: d":                    "2: want , or ]",
		"a: [b,\n":                       "1: no closing ]",
		"a: [b] c":                       `1: "c" behind the closing bracket`,
		"a: {b}":                         "1: want KEY: VALUE",
		"{a\n: b}":                       "1: want KEY: VALUE",
		"a: [?b]":                        "1: ?b: quote what starts with ?",
		"a: [b, , c]":                    `1: want a value, have ","`,
		"a: [&b c]":                      "1: &b c: anchors, aliases and tags are not supported: quote it",
		"a: *b":                          "1: *b: anchors",
		"a: !!str b":                     "1: !!str b: anchors",
		"a: |\n  b":                      "1: text over several lines is not supported: quote it",
		"a: >-\n  b":                     "1: text over several lines",
		"? a\n: b":                       "1: ? a: quote what starts with ?",
		"%YAML 1.2\na: b":                "1: %YAML 1.2: quote what starts with %",
		"a: @b":                          "1: @b: quote what starts with @",
		": b":                            "1: want a key before the colon",
		"a: b\n---\nc: d":                "2: a second document: want one",
		"a: \xff":                        "1: not UTF-8",
		"a: b\x00":                       "1: a control character",
		"a: b\n\nc: \x1b[2Jx":            "3: a control character",
		strings.Repeat("- ", 100) + "a":  "1: nested deeper than 32",
		"a: " + strings.Repeat("[", 100): "1: nested deeper than 32",
		strings.Repeat("{a: ", 100):      "1: nested deeper than 32",
		"a:\n" + strings.Repeat(" ", 7) + "b: c\n   d: e\n": "3: unexpected indentation",
	} {
		got, err := Parse(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

func TestLines(t *testing.T) {
	n, err := Parse("# c\na:\n  - b: c\n\n    d: [e,\n      f]\ng: h\n")
	if err != nil {
		t.Fatal(err)
	}
	d := n.Fields[0].Items[0].Fields[1]
	if n.Fields[0].Line != 2 || d.Line != 5 || d.Items[1].Line != 6 || n.Fields[1].Line != 7 {
		t.Errorf("lines %d, %d, %d, %d", n.Fields[0].Line, d.Line, d.Items[1].Line, n.Fields[1].Line)
	}
}

// FuzzParse: what is not refused means what it means in YAML.
func FuzzParse(f *testing.F) {
	for _, d := range documents {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Line > strings.Count(text, "\n")+1 || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q", err)
			}
			return
		}
		var want reference.Node
		if err := reference.Unmarshal([]byte(text), &want); err != nil {
			return // the library has limits and defects of its own
		}
		if got, want := got.String(), understood(&want); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
