package main

import (
	"context"
	"encoding/json"
	"errors"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime"
)

func (a *app) events() *verb {
	interval, once := "5s", false
	return &verb{
		name:  "events",
		short: "Print statistics of a container at intervals, as JSON",
		more:  true,
		usage: "[OPTIONS] <CONTAINER_ID>",
		least: 1, most: 1,
		options: func(o *options) {
			o.string(&interval, "interval", "", "DURATION", "Time between two of them [default: 5s]")
			o.bool(&once, "stats", "", "Print them once")
		},
		run: func(args []string) error {
			every, err := time.ParseDuration(interval)
			if err != nil || every <= 0 {
				return usagef("--interval %q: want a duration, as 500ms or 5s", interval)
			}
			r, err := a.runtime()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			e := json.NewEncoder(a.out)
			for first := true; ; first = false {
				event, err := r.Stats(args[0])
				if !first && (errors.Is(err, runtime.ErrNotRunning) || errors.Is(err, runtime.ErrNotExist)) {
					return nil // it has ended since
				}
				if err != nil {
					return err
				}
				if err := e.Encode(event); err != nil || once {
					return err
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(every):
				}
			}
		},
	}
}
