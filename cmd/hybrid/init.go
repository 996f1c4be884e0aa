package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/sdk"
)

func initCommand() *cobra.Command {
	var name string
	var target image.Target
	cmd := &cobra.Command{
		Use:   "init [OPTIONS] DIR",
		Short: "Write a firmware project that builds at once",
		Long: `Write a firmware project into the new folder DIR, whose name becomes the program's,
and print the command that builds it.`,
		Example: `  hybrid init blink
  hybrid init --sdk zephyr --board imx8m-mini blink`,
		Args:                  exactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := builder.Init(args[0], name, target); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "hybrid build %s\n", args[0])
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&name, "sdk", sdk.BareMetal, "SDK: "+strings.Join(sdk.Names(), ", "))
	f.StringVar(&target.Board, "board", "", "board that the firmware is for (default: the first that the SDK knows)")
	f.StringVar(&target.MCU, "mcu", "", "core of the board (may be left out if it has one kind)")
	completeFlags(cmd)
	return cmd
}
