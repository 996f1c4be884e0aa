package main

import (
	"fmt"
	"io"
	"strings"
)

// writeHelp writes the help text of a verb, or of the whole command.
func (a *app) writeHelp(w io.Writer, v *verb) {
	var b strings.Builder
	o := newOptions()
	if v == nil {
		fmt.Fprint(&b, "Deploy an application across available embedded cores.\n\nUsage: hybrid-runtime <COMMAND>\n\nCommands:\n")
		var oci, more [][2]string
		for _, v := range a.verbs() {
			switch row := [2]string{v.name, v.short}; {
			case v.raw && !v.more:
			case v.more:
				more = append(more, row)
			default:
				oci = append(oci, row)
			}
		}
		table(&b, oci)
		b.WriteString("\nMore commands:\n")
		table(&b, more)
		a.options(o)
	} else {
		fmt.Fprintf(&b, "%s\n\nUsage: %s\n", v.short, strings.TrimSpace("hybrid-runtime "+v.name+" "+v.usage))
		if len(v.arguments) > 0 {
			b.WriteString("\nArguments:\n")
			table(&b, v.arguments)
		}
		v.declare(o)
	}
	b.WriteString("\nOptions:\n")
	var rows [][2]string
	for _, r := range o.rows {
		name := "    --" + r.name
		if r.short != "" {
			name = "-" + r.short + ", --" + r.name
		}
		if r.value != "" {
			name += " <" + r.value + ">"
		}
		rows = append(rows, [2]string{name, r.text})
	}
	rows = append(rows, [2]string{"-h, --help", "Print help"})
	if v == nil {
		rows = append(rows, [2]string{"-V, --version", "Print version"})
	}
	table(&b, rows)
	_, _ = io.WriteString(w, b.String())
}

func table(b *strings.Builder, rows [][2]string) {
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(b, "  %-*s  %s\n", width, r[0], r[1])
	}
}

func (a *app) help() *verb {
	return &verb{
		name:  "help",
		short: "Print this message or the help of the given subcommand(s)",
		usage: "[COMMAND]",
		most:  1,
		run: func(args []string) error {
			if len(args) == 0 {
				a.writeHelp(a.out, nil)
				return nil
			}
			v := a.find(args[0])
			if v == nil {
				return usagef("unrecognized command %q", args[0])
			}
			a.writeHelp(a.out, v)
			return nil
		},
	}
}
