package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sdk"
)

// completeFlags tells shells the values of a command's flags, where there are few.
func completeFlags(cmd *cobra.Command) {
	var boards, cores []string
	var mcus []string
	for _, b := range board.All() {
		boards = append(boards, b.Aliases...)
		for _, mcu := range b.MCUs() {
			cores = append(cores, b.Name()+"/"+mcu)
			mcus = append(mcus, mcu)
		}
	}
	values := map[string][]string{
		"board":       boards,
		"mcu":         slices.Compact(slices.Sorted(slices.Values(mcus))),
		"target-core": cores,
		"sdk":         sdk.Names(),
		"builder":     {"auto", "embedded", "docker"},
		"progress":    {"auto", "plain", "tty", "quiet", "rawjson"},
		"check":       {"off", "warn", "error", "strict"},
		"call":        {"build", "check", "outline", "targets"},
		"network":     {"default", "none", "host"},
		"load":        {"docker", "containerd", "podman"},
	}
	for name, all := range values {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		// it fails for a flag that is not there, or is told twice
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp))
	}
}
