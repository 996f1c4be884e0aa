package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/setup"
	"github.com/hybrid-containers/hybrid/setup/doctor"
)

func doctorCommand() *cobra.Command {
	d, asJSON := doctor.Doctor{Version: versionText()}, false
	d.Setup.Configs = map[string]string{}
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Look for what this board lacks",
		Long: `Look for what this board lacks to run firmware in containers, and change nothing.

Each line is ok, a warning or an error, with a remedy. Exit codes: 0 without an
error, 1 with one, 2 for usage errors.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.Host.Root == "" {
				d.Host.Root = "/"
			}
			if err := isFolder(d.Host.Root); err != nil { // also one of the environment
				return &usageError{fmt.Errorf("--sysroot %s: %w", d.Host.Root, err)}
			}
			root, err := filepath.Abs(d.Host.Root)
			if err != nil {
				return err
			}
			d.Host.Root = root
			report := d.Examine(cmd.Context())
			if err := writeReport(cmd.OutOrStdout(), report, asJSON); err != nil {
				return err
			}
			if report.Status == doctor.Error {
				return errFound
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.StringVar(&d.Host.Root, "sysroot", os.Getenv("HYBRID_SYSROOT"), "the `folder` that holds /sys, /dev, /run and /lib/firmware (env HYBRID_SYSROOT)")
	f.Var(rootValue{&d.Setup.Machine.Root}, "root", "the `folder` that stands for / of engines and programs (default /)")
	for _, e := range setup.Engines() {
		f.Var(fileValue{d.Setup.Configs, e.Name}, e.Name+"-config", "the configuration `file` of "+e.Name+", if it is not the usual one")
	}
	f.StringVar(&d.Delegate, "runtime-delegate", os.Getenv("HYBRID_RUNTIME_DELEGATE"), "the `program` for Linux containers (default runc or crun, env HYBRID_RUNTIME_DELEGATE)")
	return cmd
}

// writeReport writes a line for each finding, or all of them as JSON.
func writeReport(out io.Writer, r *doctor.Report, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	width := 0
	name := func(f doctor.Finding) string { return strings.TrimSpace(f.Check + " " + f.Subject) }
	for _, f := range r.Findings {
		width = max(width, len(name(f)))
	}
	var b strings.Builder
	for _, f := range r.Findings {
		line := fmt.Sprintf("%-7s  %-*s  %s", f.Status, width, name(f), f.Message)
		if f.Remedy != "" {
			line += " (" + f.Remedy + ")"
		}
		b.WriteString(printable(line) + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printable is a line without what a terminal would obey: a device tree and names of
// containers are part of it.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, line)
}
