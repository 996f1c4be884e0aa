// Command hybrid-setup tells a board's container engines about hybrid-runtime, and
// looks for what is missing there.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when a release is linked.
var version = ""

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// errFound ends a doctor who has found an error, and has said which.
var errFound = errors.New("an error was found")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	stop()
	var usage *usageError
	switch {
	case err == nil:
	case errors.Is(err, errFound):
		os.Exit(exitFailure)
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "hybrid-setup: %v (hybrid-setup --help)\n", err)
		os.Exit(exitUsage)
	default:
		fmt.Fprintf(os.Stderr, "hybrid-setup: %v\n", err)
		os.Exit(exitFailure)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "hybrid-setup",
		Short:             "Set up a board's container engines for hybrid-runtime",
		Version:           versionText(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              noArgs,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{errors.New("which command? install, uninstall or doctor")}
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	cmd.AddCommand(installCommand(), uninstallCommand(), doctorCommand())
	return cmd
}

// noArgs is cobra.NoArgs as a usage error.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
