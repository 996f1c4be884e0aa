package main

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime"
)

func (a *app) kill() *verb {
	var all bool
	return &verb{
		name:  "kill",
		short: "terminates the container",
		usage: "<CONTAINER_ID> [SIGNAL]",
		arguments: [][2]string{
			{containerID, "Name of the container"},
			{"[SIGNAL]", "Name or number [default: TERM]; TERM, INT, QUIT and KILL stop the processor, others do nothing"},
		},
		least: 1, most: 2,
		options: func(o *options) {
			o.bool(&all, "all", "a", "Succeed also if the container is not running, as runc does")
		},
		run: func(args []string) error {
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
			err = r.Kill(args[0], signal)
			if all && errors.Is(err, runtime.ErrNotRunning) {
				return nil // all of its processes have it: there are none
			}
			return err
		},
	}
}

// parseSignal takes TERM, SIGTERM, term and 15, and 0, which asks whether there is
// something to send to, as in kill(2).
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > 64 {
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
