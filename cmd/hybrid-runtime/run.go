package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime"
)

func (a *app) runVerb() *verb {
	var c runtime.CreateOptions
	var given *options
	var detach, keep bool
	return &verb{
		name:  "run",
		short: "Create a container, start it, and delete it when it ends",
		more:  true,
		usage: "[OPTIONS] <--firmware <FIRMWARE>|--image <IMAGE>|--bundle <BUNDLE>> <CONTAINER_ID>",
		arguments: [][2]string{
			{containerID, "Name of the container: letters, digits, or any of _+-."},
		},
		least: 1, most: 1,
		options: func(o *options) {
			given = o
			sourceOptions(o, &c)
			o.bool(&detach, "detach", "d", "Do not wait for its end")
			o.bool(&keep, "keep", "", "Do not delete it when it ends")
			o.accept("no-subreaper")
		},
		run: func(args []string) error {
			if err := checkSource(given, &c); err != nil {
				return err
			}
			r, err := a.runtime()
			if err != nil {
				return err
			}
			signals := make(chan os.Signal, 8)
			signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP)
			c.Stdio, c.SystemdCgroup = !detach, a.systemd
			code, err := r.Run(args[0], c, runtime.RunOptions{Detach: detach, Keep: keep, Signals: signals})
			if err != nil {
				return err
			}
			if code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
}
