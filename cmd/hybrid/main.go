// Command hybrid builds firmware images: OCI images that carry one ELF file for a
// Cortex-M or Cortex-R core beside Linux, and say which core it is for.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/builder"
)

// Exit codes beside 0. A signal ends with 128 and its number, as in shells.
const (
	exitFailure = 1
	exitUsage   = 2
	exitSignal  = 128
)

func main() { os.Exit(run()) }

func run() int {
	logrus.SetOutput(io.Discard) // BuildKit's libraries log what they also return
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	ctx, stop := untilSignal(context.Background())
	defer stop()
	err := root().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var interrupted signalError
	if errors.As(err, &interrupted) {
		fmt.Fprintln(os.Stderr, "error:", interrupted)
		return exitSignal + int(interrupted.signal)
	}
	for _, source := range errdefs.Sources(err) {
		_ = source.Print(os.Stderr) // to standard error: nowhere to say that it failed
	}
	fmt.Fprintln(os.Stderr, "error:", line(err))
	var usage *builder.UsageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// line is an error as one line, without what a terminal would obey: git's and a
// registry's errors come as they are.
func line(err error) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return unicode.ReplacementChar
		}
		return r
	}, err.Error())
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, " ")
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "hybrid",
		Short:         "Build firmware images for the Cortex-M and Cortex-R cores beside Linux.",
		Version:       currentVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          subcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &builder.UsageError{Err: err} })
	for _, c := range []*cobra.Command{buildCommand(), initCommand(), inspectCommand(), boardsCommand()} {
		c.PersistentPreRun = warnOfBoards
		cmd.AddCommand(c)
	}
	cmd.AddCommand(builderCommand(), sdkCommand(), schemaCommand(), versionCommand())
	return cmd
}

// warnOfBoards tells what is wrong with the boards that are added to this machine.
func warnOfBoards(cmd *cobra.Command, _ []string) {
	for _, problem := range board.Problems() {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", line(problem))
	}
}

// signalError is why a context ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return "stopped by signal: " + e.signal.String() }

// untilSignal ends the context at the first SIGINT or SIGTERM, so that the command
// cleans up; the second one ends the process.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(signalError{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}

// subcommand refuses the arguments of a command that only has subcommands.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // letters; cobra sets it only for errors of its own
	err := fmt.Errorf("unknown command %q; see %s --help", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("unknown command %q, did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return &builder.UsageError{Err: err}
}

// exactArgs is cobra.ExactArgs with the usage's exit code.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return &builder.UsageError{Err: fmt.Errorf("want %s; see %s --help", cmd.UseLine(), cmd.CommandPath())}
		}
		return nil
	}
}
