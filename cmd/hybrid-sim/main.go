// Command hybrid-sim runs simulated boards, for a desk without one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of our own; those of a command on the board are passed through.
const (
	exitUsage = 2
	exitBoard = 125 // the board failed, not the command
)

// exitError is an error with an exit code; one that wraps nothing prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{exitUsage, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := root().ExecuteContext(ctx)
	stop()
	if m := message(err); m != "" {
		fmt.Fprintln(os.Stderr, "hybrid-sim:", m)
	}
	os.Exit(exitCode(err))
}

// exitCode is how we end with err.
func exitCode(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	}
	return 1
}

// message is what to say about err; a command that has failed on the board has said
// what it had to say.
func message(err error) string {
	var exit *exitError
	if err == nil || errors.As(err, &exit) && exit.err == nil {
		return ""
	}
	return err.Error()
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "hybrid-sim",
		Short:         "Run simulated boards",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(*cobra.Command, []string) error {
			return usageError(errors.New("which simulation? hybrid-sim vm, or see hybrid-sim --help"))
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	cmd.AddCommand(vmCommand(), sysfsCommand(), fetchCommand())
	return cmd
}
