package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

func builderCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "builder",
		Short: "Manage the BuildKits that firmware is built with",
		Args:  subcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(builderServeCommand(), builderLsCommand(), builderDuCommand(), builderPruneCommand(), builderStdinCommand())
	return cmd
}

// builderFlags are those that choose a BuildKit.
func builderFlags(f *pflag.FlagSet, o *buildkit.Options) {
	f.StringVar(&o.Builder, "builder", envOr("HYBRID_BUILDER", buildkit.Auto), "BuildKit to build with: auto, embedded, docker or an address (HYBRID_BUILDER)")
	stateFlag(f, &o.StateDir)
	o.Address = os.Getenv("BUILDKIT_HOST")
}

func stateFlag(f *pflag.FlagSet, dir *string) {
	f.StringVar(dir, "state", envOr("HYBRID_STATE", buildkit.DefaultStateDir()), "folder of the embedded BuildKit's cache (HYBRID_STATE)")
}

// openBuilder opens the BuildKit that the flags choose, and says which it is.
func openBuilder(cmd *cobra.Command, o buildkit.Options) (*buildkit.BuildKit, error) {
	if err := o.Check(); err != nil {
		return nil, &builder.UsageError{Err: fmt.Errorf("--builder: %w", err)}
	}
	o.Waiting = func(dir string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "a build uses %s, waiting for it to end\n", dir)
	}
	return buildkit.Open(cmd.Context(), o)
}

func builderServeCommand() *cobra.Command {
	var o buildkit.ServeOptions
	cmd := &cobra.Command{
		Use:   "serve [OPTIONS]",
		Short: "Keep the embedded BuildKit on a socket",
		Long: `Keep the embedded BuildKit on a socket in its state folder, until nobody was connected
for a while or SIGTERM comes. Builds with the same state folder find it there by
themselves; other programs find it at the address that is printed:

  BUILDKIT_HOST=unix:///var/lib/hybrid/buildkit/hybrid.sock buildctl du`,
		Args:                  exactArgs(0),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := buildkit.CheckServeAddress(o.Address); err != nil {
				return &builder.UsageError{Err: err}
			}
			if o.Idle < 0 {
				return &builder.UsageError{Err: fmt.Errorf("--idle %s: want a time, or 0 for ever", o.Idle)}
			}
			if os.Geteuid() != 0 {
				return serveRootless(cmd, o)
			}
			o.Waiting = func(dir string) {
				fmt.Fprintf(cmd.ErrOrStderr(), "a build uses %s, waiting for it to end\n", dir)
			}
			o.Ready = func(addresses []string) {
				for _, a := range addresses {
					fmt.Fprintln(cmd.OutOrStdout(), a)
				}
			}
			return stoppedIsFine(buildkit.Serve(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.Address, "address", "", "listen here too, unix://PATH")
	f.DurationVar(&o.Idle, "idle", 10*time.Minute, "end when nobody was connected for so long (0: never)")
	stateFlag(f, &o.StateDir)
	return cmd
}

// stoppedIsFine is the error of a server: that it was told to stop is none.
func stoppedIsFine(err error) error {
	var stopped signalError
	if errors.As(err, &stopped) && stopped.signal == syscall.SIGTERM {
		return nil
	}
	return err
}

// serveRootless runs the same command as root of a user namespace.
func serveRootless(cmd *cobra.Command, o buildkit.ServeOptions) error {
	args, err := buildkit.Rootless("builder", "serve", "--state", o.StateDir, "--idle", o.Idle.String(), "--address", o.Address)
	if err != nil {
		return err
	}
	child := exec.CommandContext(cmd.Context(), args[0], args[1:]...)
	child.Stdout, child.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) } // rootlesskit passes it on
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = child.Run()
	if cmd.Context().Err() != nil {
		return stoppedIsFine(context.Cause(cmd.Context()))
	}
	if err != nil {
		return fmt.Errorf("rootlesskit: %w", err)
	}
	return nil
}

// builderStdinCommand is what this program runs of itself in rootlesskit.
func builderStdinCommand() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:    "stdin --state DIR",
		Short:  "Serve the embedded BuildKit on standard input, a socket",
		Hidden: true,
		Args:   exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return buildkit.ServeStdin(cmd.Context(), state, os.Stdin, cmd.ErrOrStderr())
		},
	}
	stateFlag(cmd.Flags(), &state)
	return cmd
}
