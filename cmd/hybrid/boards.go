package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/board"
)

func boardsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "boards",
		Short: "Show the boards that hybrid knows",
		Args:  subcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return listBoards(cmd.OutOrStdout(), board.All()) },
	}
	cmd.AddCommand(boardsListCommand(), boardsShowCommand())
	return cmd
}

func boardsListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "ls [OPTIONS]",
		Aliases:               []string{"list"},
		Short:                 "List the boards",
		Args:                  exactArgs(0),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !asJSON {
				return listBoards(cmd.OutOrStdout(), board.All())
			}
			list := []describedBoard{}
			for _, b := range board.All() {
				list = append(list, describe(b))
			}
			return writeJSON(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func boardsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "show [OPTIONS] BOARD",
		Short:                 "Show a board: its names, its cores and their memory",
		Args:                  exactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := board.Lookup(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), describe(b))
			}
			return showBoard(cmd.OutOrStdout(), b)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// listBoards has a column more where boards were added.
func listBoards(w io.Writer, boards []*board.Board) error {
	added := slices.ContainsFunc(boards, func(b *board.Board) bool { return b.File != "" })
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	row := func(name, aliases, cores, from, model string) {
		if added {
			model = from + "\t" + model
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, aliases, cores, model)
	}
	row("BOARD", "ALIASES", "CORES", "FROM", "MODEL")
	for _, b := range boards {
		from := "hybrid"
		if b.File != "" {
			from = b.File
		}
		row(b.Name(), orDash(b.Aliases[1:]), orDash(b.MCUs()), from, b.Model)
	}
	return t.Flush()
}

func orDash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}

func showBoard(w io.Writer, b *board.Board) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Board\t%s\n", strings.Join(b.Aliases, ", "))
	fmt.Fprintf(t, "Model\t%s\n", b.Model)
	if b.File != "" {
		fmt.Fprintf(t, "From\t%s\n", b.File)
	}
	fmt.Fprintf(t, "Compatible\t%s\n", strings.Join(b.Compatible, ", "))
	if len(b.Cores) == 0 {
		fmt.Fprintln(t, "\nCore\tnone that firmware may be put on")
	}
	for _, c := range b.Cores {
		fmt.Fprintf(t, "\nCore\t%s (%s)\n", c.MCU, c.Compatible)
		if c.Memory == nil {
			fmt.Fprintln(t, "Memory\tnot known")
			continue
		}
		fmt.Fprintln(t, "\nADDRESS\tSIZE\tKIND\tLINUX\tREGION")
		for _, r := range c.Memory {
			linux := "-"
			if r.Linux != 0 {
				linux = fmt.Sprintf("0x%08x", r.Linux)
			}
			fmt.Fprintf(t, "0x%08x\t%s\t%s\t%s\t%s\n", r.Start, sizeOf(r.Size), r.Kind, linux, r.Name)
		}
	}
	return t.Flush()
}

func sizeOf(n uint64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// describedBoard is a board for JSON.
type describedBoard struct {
	Name       string          `json:"name"`
	Aliases    []string        `json:"aliases"`
	Model      string          `json:"model"`
	File       string          `json:"file,omitempty"` // where it was added
	Compatible []string        `json:"compatible"`
	Cores      []describedCore `json:"cores"`
}

type describedCore struct {
	MCU        string            `json:"mcu"`
	Compatible string            `json:"compatible"`
	Memory     []describedRegion `json:"memory"` // null: not known
}

type describedRegion struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Address string `json:"address"`
	Size    uint64 `json:"size"`
	Linux   string `json:"linux_address,omitempty"`
}

func describe(b *board.Board) describedBoard {
	d := describedBoard{Name: b.Name(), Aliases: b.Aliases, Model: b.Model, Compatible: b.Compatible, File: b.File, Cores: []describedCore{}}
	for _, c := range b.Cores {
		core := describedCore{MCU: c.MCU, Compatible: c.Compatible}
		for _, r := range c.Memory {
			region := describedRegion{Name: r.Name, Kind: r.Kind.String(), Address: fmt.Sprintf("0x%08x", r.Start), Size: r.Size}
			if r.Linux != 0 {
				region.Linux = fmt.Sprintf("0x%08x", r.Linux)
			}
			core.Memory = append(core.Memory, region)
		}
		d.Cores = append(d.Cores, core)
	}
	return d
}
