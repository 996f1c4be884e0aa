package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/runtime"
)

func (a *app) list() *verb {
	format, quiet := "table", false
	return &verb{
		name:  "list",
		short: "List the containers",
		usage: "[OPTIONS]",
		options: func(o *options) {
			o.string(&format, "format", "f", "FORMAT", "Output format: table or json [default: table]")
			o.alias("format", "o")
			o.bool(&quiet, "quiet", "q", "Print the names only")
		},
		run: func([]string) error {
			if format != "table" && format != "json" {
				return usagef("--format %q: want table or json", format)
			}
			r, err := a.runtime()
			if err != nil {
				return err
			}
			entries, err := r.List()
			if err != nil {
				return err
			}
			switch {
			case quiet:
				var b strings.Builder
				for _, e := range entries {
					b.WriteString(e.ID + "\n")
				}
				_, err := io.WriteString(a.out, b.String())
				return err
			case format == "json":
				if entries == nil {
					entries = []runtime.Entry{}
				}
				return json.NewEncoder(a.out).Encode(entries)
			default:
				return writeTable(a.out, entries)
			}
		},
	}
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
