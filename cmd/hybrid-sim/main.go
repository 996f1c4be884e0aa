// Command hybrid-sim runs simulated boards, for a desk without one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
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
	if err == nil {
		return
	}
	code := 1
	var exit *exitError
	if errors.As(err, &exit) {
		code, err = exit.code, exit.err
	} else if strings.HasPrefix(err.Error(), "unknown command") {
		code = exitUsage
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hybrid-sim:", err)
	}
	os.Exit(code)
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "hybrid-sim",
		Short:         "Run simulated boards",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError(errors.New("which simulation? hybrid-sim vm, or see hybrid-sim --help"))
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	cmd.AddCommand(vmCommand(), fetchCommand())
	return cmd
}
