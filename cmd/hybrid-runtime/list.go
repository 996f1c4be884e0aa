package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/runtime"
)

func (a *app) list() *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:         "list",
		Short:       "List the containers",
		Annotations: map[string]string{usageLine: "[OPTIONS]"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q", args[0])
			}
			if format != "table" && format != "json" {
				return usagef("--format %q: want table or json", format)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			entries, err := r.List()
			if err != nil {
				return err
			}
			switch out := cmd.OutOrStdout(); {
			case quiet:
				for _, e := range entries {
					fmt.Fprintln(out, e.ID)
				}
			case format == "json":
				if entries == nil {
					entries = []runtime.Entry{}
				}
				return json.NewEncoder(out).Encode(entries)
			default:
				return writeTable(out, entries)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "format", "o", "table", "Output format: table or json [default: table]")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Print the names only")
	annotate(cmd.Flags().Lookup("format"), "FORMAT")
	return cmd
}

func writeTable(out io.Writer, entries []runtime.Entry) error {
	w := tabwriter.NewWriter(out, 0, 1, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tPID\tSTATUS\tPROCESSOR\tMCU\tBUNDLE\tCREATED")
	for _, e := range entries {
		status := string(e.Status)
		if status == "" {
			status = "unreadable"
		}
		if code := e.Annotations[runtime.KeyExitCode]; code != "" {
			status += " (" + code + ")"
		}
		created := ""
		if !e.Created.IsZero() {
			created = e.Created.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.Pid, status,
			e.Annotations[image.KeyProcessor], e.Annotations[image.KeyMCU], e.Bundle, created)
	}
	return w.Flush()
}
