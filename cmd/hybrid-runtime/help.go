package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Keys of what help says beyond what cobra knows.
const (
	valueName = "value"     // annotation of a flag: the name of its value
	usageLine = "usage"     // annotation of a command: what stands after its name
	arguments = "arguments" // annotation of a command: lines of NAME<tab>text
)

func annotate(f *pflag.Flag, value string) {
	f.Annotations = map[string][]string{valueName: {value}}
}

// order is the order of the commands in the help text.
var order = []string{"create", "start", "state", "kill", "delete", "list", "logs", "help"}

// help is the help text of a command. It is written by hand because cobra's own
// needs text/template, which is a third of this program.
func help(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", cmd.Short)
	options := collect(cmd)
	if cmd.HasParent() {
		fmt.Fprintf(&b, "Usage: %s %s\n", cmd.CommandPath(), cmd.Annotations[usageLine])
		if text := cmd.Annotations[arguments]; text != "" {
			b.WriteString("\nArguments:\n")
			var rows [][2]string
			for line := range strings.SplitSeq(text, "\n") {
				name, what, _ := strings.Cut(line, "\t")
				rows = append(rows, [2]string{name, what})
			}
			table(&b, rows)
		}
	} else {
		fmt.Fprintf(&b, "Usage: %s <COMMAND>\n\nCommands:\n", cmd.Name())
		var rows [][2]string
		for _, name := range order {
			if c, _, err := cmd.Find([]string{name}); err == nil && c != cmd {
				rows = append(rows, [2]string{name, c.Short})
			}
		}
		table(&b, rows)
	}
	b.WriteString("\nOptions:\n")
	table(&b, options)
	return b.String()
}

// collect lists the options: the command's own, then the ones of all commands,
// help and version last.
func collect(cmd *cobra.Command) [][2]string {
	var own, global, last [][2]string
	row := func(f *pflag.Flag) [2]string {
		name := "    --" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", --" + f.Name
		}
		if v := f.Annotations[valueName]; len(v) > 0 {
			name += " <" + v[0] + ">"
		}
		return [2]string{name, f.Usage}
	}
	cmd.InitDefaultHelpFlag()
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Hidden:
		case f.Name == "help":
			last = append([][2]string{{"-h, --help", "Print help"}}, last...)
		case f.Name == "version":
			last = append(last, row(f))
		case cmd.Root().PersistentFlags().Lookup(f.Name) != nil:
			global = append(global, row(f))
		default:
			own = append(own, row(f))
		}
	})
	return append(append(own, global...), last...)
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

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "help [COMMAND]",
		Short:       "Print this message or the help of the given subcommand(s)",
		Annotations: map[string]string{usageLine: "[COMMAND]"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("unrecognized command %q", strings.Join(args, " "))
			}
			fmt.Fprint(cmd.OutOrStdout(), help(c))
			return nil
		},
	}
}
