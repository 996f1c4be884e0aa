package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
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

// writeTable does without text/tabwriter, which is not worth its size here.
func writeTable(out io.Writer, entries []runtime.Entry) error {
	rows := [][]string{{"ID", "PID", "STATUS", "PROCESSOR", "MCU", "BUNDLE", "CREATED"}}
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
		rows = append(rows, []string{
			e.ID, strconv.Itoa(e.Pid), status,
			e.Annotations[image.KeyProcessor], e.Annotations[image.KeyMCU], e.Bundle, created,
		})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row[:len(row)-1] {
			fmt.Fprintf(&b, "%-*s   ", widths[i], cell)
		}
		b.WriteString(row[len(row)-1] + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
