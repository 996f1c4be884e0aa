package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/inspect"
)

func inspectCommand() *cobra.Command {
	var asJSON bool
	var target inspect.Target
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] IMAGE|FILE.elf [IMAGE|FILE.elf]",
		Short: "Show what an image or an ELF file is, or what changed between two",
		Long: `Show the target, the segments in the memory of the core, the resource table and the
findings of the checks, of an image or an ELF file; of two, what changed.

  FOLDER, FILE.tar                 an OCI layout or an archive, [:TAG][@DIGEST] behind it
  FILE.elf                         a bare firmware
  oci-layout://PATH                a layout for sure
  docker:NAME containerd:NAME podman:NAME   an image of a local engine
  docker-image://NAME              an image in a registry
  NAME                             of Docker if it answers and has it, else of its registry

Errors that the checks find do not make the command fail: ask for them with --json.`,
		Example: `  hybrid inspect hello.tar
  hybrid inspect --board imx8m-mini hello_world.elf
  hybrid inspect registry.example/hello:1 registry.example/hello:2`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return &builder.UsageError{Err: fmt.Errorf("want %s; see %s --help", cmd.UseLine(), cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if target.MCU != "" && target.Board == "" {
				return &builder.UsageError{Err: fmt.Errorf("--mcu %s: want --board too", target.MCU)}
			}
			var reports []*inspect.Report
			for _, name := range args {
				r, err := inspect.Open(cmd.Context(), name, target)
				if err != nil {
					return err
				}
				reports = append(reports, r)
			}
			return writeReports(cmd.OutOrStdout(), reports, asJSON)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.StringVar(&target.Board, "board", "", "board, where the image does not say it")
	f.StringVar(&target.MCU, "mcu", "", "core of the board")
	completeFlags(cmd)
	return cmd
}

func writeReports(w io.Writer, reports []*inspect.Report, asJSON bool) error {
	if len(reports) == 1 {
		if asJSON {
			return writeJSON(w, reports[0])
		}
		return reports[0].Text(w)
	}
	from, to := reports[0], reports[1]
	changes := inspect.Changes(from, to)
	if asJSON {
		return writeJSON(w, struct {
			From    *inspect.Report  `json:"from"`
			To      *inspect.Report  `json:"to"`
			Changes []inspect.Change `json:"changes"`
		}{from, to, changes})
	}
	return inspect.WriteChanges(w, from.Source, to.Source, changes)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
