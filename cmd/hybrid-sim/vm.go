package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hybrid-containers/hybrid/sim/vm"
	"github.com/hybrid-containers/hybrid/sim/vm/debian"
	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

type vmOptions struct {
	shares  []string
	env     []string
	workdir string
	booted  string
	kernel  string
	timeout time.Duration
	verbose bool
}

func vmCommand() *cobra.Command {
	var o vmOptions
	cmd := &cobra.Command{
		Use:   "vm [flags] [-- COMMAND [ARG...]]",
		Short: "Run a command, or a shell, on the virtual board",
		Long: `Run a command on the virtual board: Linux next to a Cortex-M core, in QEMU.

Linux is Debian's armhf kernel with busybox and the mainline remoteproc driver of
the STM32MP1; the core really executes the firmware that it is given. Input, output
and exit code of the command are passed through; without a command there is an
interactive shell.

Exit codes: those of the command; 128 and the signal's number if a signal ended it;
126 if it cannot be executed, 127 if it is not found, 124 on timeout, 130 when
interrupted, 125 if the board itself failed, 2 for usage errors.`,
		Example: `  hybrid-sim vm -- cat /sys/class/remoteproc/remoteproc0/state
  hybrid-sim vm --share $PWD:/mnt -- sh /mnt/test.sh
  hybrid-sim vm`,
		RunE: func(cmd *cobra.Command, args []string) error { return runVM(cmd.Context(), o, args) },
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringArrayVar(&o.shares, "share", nil, "share a folder as `HOST[:GUEST[:ro|const]]`, by default at the same path (repeatable); const is read only and faster, for what nobody changes meanwhile")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set an environment variable, `KEY=VALUE` (repeatable)")
	f.StringVarP(&o.workdir, "workdir", "w", "", "run the command in this `folder` of the board")
	f.StringVar(&o.booted, "booted", "", "let a boot loader start this firmware `file` before Linux: the core is detached")
	kernelFlag(cmd, &o.kernel)
	f.DurationVar(&o.timeout, "timeout", 0, "kill the command after this time, e.g. 30s")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show the kernel's console and the bridge's log on standard error")
	return cmd
}

func runVM(ctx context.Context, o vmOptions, args []string) (err error) {
	cfg := vm.Config{Progress: os.Stderr, Booted: o.booted, Kernel: o.kernel}
	if _, err := debian.LookupKernel(o.kernel); err != nil {
		return usageError(err)
	}
	for _, s := range o.shares {
		share, err := parseShare(s)
		if err != nil {
			return usageError(err)
		}
		cfg.Shares = append(cfg.Shares, share)
	}
	for _, e := range o.env {
		if key, _, ok := strings.Cut(e, "="); !ok || key == "" {
			return usageError(fmt.Errorf("--env %q is not KEY=VALUE", e))
		}
	}
	if o.workdir != "" && !filepath.IsAbs(o.workdir) {
		return usageError(fmt.Errorf("--workdir %q is not an absolute path", o.workdir))
	}
	if len(args) == 0 && !term.IsTerminal(int(os.Stdin.Fd())) {
		return usageError(errors.New("no command, and standard input is not a terminal for a shell"))
	}
	if o.verbose {
		cfg.Console = os.Stderr
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}

	board, err := vm.Start(ctx, cfg)
	if err != nil {
		return exitOf(ctx, err)
	}
	defer func() {
		if e := board.Close(); e != nil && err == nil {
			err = &exitError{exitBoard, e}
		}
	}()
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the command took longer than %v", o.timeout))
		defer cancel()
	}
	if len(args) == 0 {
		return exitOf(ctx, shell(ctx, board, o))
	}
	c := board.Command(ctx, args[0], args[1:]...)
	c.Env, c.Dir = o.env, o.workdir
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return exitOf(ctx, c.Run())
}

// parseShare reads HOST[:GUEST[:ro|const]].
func parseShare(s string) (vm.Share, error) {
	parts := strings.Split(s, ":")
	share := vm.Share{Host: parts[0]}
	switch {
	case parts[0] == "" || len(parts) > 3:
		return share, fmt.Errorf("--share %q is not HOST[:GUEST[:ro|const]]", s)
	case len(parts) == 3 && parts[2] != "ro" && parts[2] != "const":
		return share, fmt.Errorf("--share %q: %q is neither ro nor const", s, parts[2])
	}
	if len(parts) > 1 {
		share.Guest = parts[1]
	}
	share.ReadOnly = len(parts) == 3
	share.Constant = share.ReadOnly && parts[2] == "const"
	return share, nil
}

// exitOf turns how a command ended into how we end.
func exitOf(ctx context.Context, err error) error {
	var exit *vm.ExitError
	var start *vm.StartError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.Signal != 0:
		return &exitError{code: 128 + int(exit.Signal)}
	case errors.As(err, &exit):
		return &exitError{code: exit.Code}
	case errors.As(err, &start):
		return &exitError{start.Code, err}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &exitError{124, err}
	case ctx.Err() != nil: // interrupted: as shells say it
		return &exitError{128 + int(syscall.SIGINT), err}
	}
	return &exitError{exitBoard, err}
}

// shell runs an interactive shell on our terminal.
func shell(ctx context.Context, board *vm.VM, o vmOptions) error {
	fd := int(os.Stdin.Fd())
	size := func() wire.Size {
		columns, rows, err := term.GetSize(fd)
		if err != nil || columns == 0 || rows == 0 { // a terminal may not know
			columns, rows = 80, 24
		}
		return wire.Size{Rows: uint16(rows), Columns: uint16(columns)}
	}
	now := size()
	c := board.Command(ctx, "sh", "-l")
	c.Env, c.Dir, c.Terminal = append([]string{"TERM=" + os.Getenv("TERM")}, o.env...), o.workdir, &now
	c.Stdin, c.Stdout = os.Stdin, os.Stdout

	state, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer func() { _ = term.Restore(fd, state) }()
	if err := c.Start(); err != nil {
		return err
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer func() {
		signal.Stop(changed)
		close(changed)
	}()
	go func() {
		for range changed {
			_ = c.Resize(size())
		}
	}()
	return c.Wait()
}
