package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

func builderLsCommand() *cobra.Command {
	var o buildkit.Options
	cmd := &cobra.Command{
		Use:                   "ls [OPTIONS]",
		Short:                 "List the BuildKits that there are; * is what a build takes",
		Args:                  exactArgs(0),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return &builder.UsageError{Err: fmt.Errorf("--builder: %w", err)}
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 3, ' ', 0)
			fmt.Fprintln(w, "NAME\tENDPOINT\tSTATUS\tVERSION\tPLATFORMS")
			for _, b := range buildkit.List(cmd.Context(), o) {
				name := b.Name
				if b.Current {
					name += "*"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, b.Endpoint, b.Status, b.Version, strings.Join(b.Platforms, ", "))
			}
			return w.Flush()
		},
	}
	builderFlags(cmd.Flags(), &o)
	return cmd
}
