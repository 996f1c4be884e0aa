package main

import (
	"context"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime"
)

func (a *app) logs() *verb {
	var l runtime.LogOptions
	tail := "all"
	return &verb{
		name:  "logs",
		short: "Print what the firmware has written",
		more:  true,
		usage: "[OPTIONS] <CONTAINER_ID>",
		least: 1, most: 1,
		options: func(o *options) {
			o.bool(&l.Follow, "follow", "f", "Go on until the container stops")
			o.string(&tail, "tail", "n", "LINES", "Print the last lines only [default: all]")
			o.bool(&l.Timestamps, "timestamps", "t", "Print when each line was written")
		},
		run: func(args []string) error {
			l.Tail = -1
			if tail != "all" {
				var err error
				if l.Tail, err = strconv.Atoi(tail); err != nil || l.Tail < 0 {
					return usagef("--tail %q: want a number of lines or all", tail)
				}
			}
			r, err := a.runtime()
			if err != nil {
				return err
			}
			ctx := context.Background()
			if l.Follow {
				var stop context.CancelFunc
				ctx, stop = signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
				defer stop()
			}
			return r.Logs(ctx, args[0], l, a.out, a.errOut)
		},
	}
}
