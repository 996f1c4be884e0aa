package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func (a *app) kill() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kill",
		Short: "terminates the container",
		Annotations: map[string]string{
			usageLine: "<CONTAINER_ID> [SIGNAL]",
			arguments: "<CONTAINER_ID>\tName of the container\n" +
				"[SIGNAL]\tName or number [default: TERM]; TERM, INT, QUIT and KILL stop the processor, others do nothing",
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return containerID(cmd, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			signal := unix.SIGTERM
			if len(args) == 2 {
				var err error
				if signal, err = parseSignal(args[1]); err != nil {
					return err
				}
			}
			r, err := a.runtime()
			if err != nil {
				return err
			}
			return r.Kill(args[0], signal)
		},
	}
	cmd.Flags().BoolP("all", "a", false, "Accepted, as engines give it: a firmware is one process")
	_ = cmd.Flags().MarkHidden("all")
	return cmd
}

// parseSignal takes TERM, SIGTERM, term and 15.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 64 {
			return 0, usagef("no signal %q", s)
		}
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n, nil
	}
	return 0, usagef("no signal %q", s)
}
