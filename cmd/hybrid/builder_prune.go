package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/go-units"
	"github.com/moby/buildkit/client"
	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

func builderPruneCommand() *cobra.Command {
	var o buildkit.Options
	var filters []string
	var all, force, verbose bool
	var reserved, most, free opts.MemBytes
	cmd := &cobra.Command{
		Use:                   "prune [OPTIONS]",
		Short:                 "Remove build cache",
		Args:                  exactArgs(0),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := buildkit.ParseFilter(filters)
			if err != nil {
				return &builder.UsageError{Err: err}
			}
			if !force {
				if ok, err := confirm(cmd, all); err != nil || !ok {
					return err
				}
			}
			bk, err := openBuilder(cmd, o)
			if err != nil {
				return err
			}
			options := []client.PruneOption{
				client.WithFilter(filter.Filter),
				client.WithKeepOpt(filter.Keep, reserved.Value(), most.Value(), free.Value()),
			}
			if all {
				options = append(options, client.PruneAll)
			}
			return errors.Join(prune(cmd, bk, verbose, options), bk.Close())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVarP(&all, "all", "a", false, "what builds of BuildKit itself use, too")
	f.BoolVarP(&force, "force", "f", false, "do not ask")
	f.StringArrayVar(&filters, "filter", nil, "only what matches: until=24h, id=…, type=…, KEY=VALUE")
	f.Var(&most, "max-used-space", "the cache may keep so much")
	f.Var(&reserved, "reserved-space", "the cache keeps so much in any case")
	f.Var(&free, "min-free-space", "so much of the disk shall be free")
	f.BoolVar(&verbose, "verbose", false, "all that is known of each record")
	builderFlags(f, &o)
	return cmd
}

// confirm asks; anything but yes is a no.
func confirm(cmd *cobra.Command, all bool) (bool, error) {
	what := "dangling build cache"
	if all {
		what = "build cache"
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "WARNING! This will remove all %s. Are you sure you want to continue? [y/N] ", what)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("standard input: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

func prune(cmd *cobra.Command, bk *buildkit.BuildKit, verbose bool, options []client.PruneOption) error {
	format, _ := usageFormat("", verbose)
	removed := make(chan client.UsageInfo)
	written := make(chan error, 1)
	var total int64
	go func() {
		var records []*client.UsageInfo
		for r := range removed {
			total += r.Size
			records = append(records, &r)
		}
		if len(records) == 0 {
			written <- nil
			return
		}
		written <- writeUsage(cmd.OutOrStdout(), format, records)
	}()
	err := bk.Prune(cmd.Context(), removed, options...)
	close(removed)
	if err := errors.Join(err, <-written); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "Total:\t%s\n", units.HumanSize(float64(total)))
	return err
}
