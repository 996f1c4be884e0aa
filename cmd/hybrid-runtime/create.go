package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime"
)

func (a *app) create() *verb {
	var c runtime.CreateOptions
	var given *options
	return &verb{
		name:  "create",
		short: "Create a container",
		usage: "<--firmware <FIRMWARE>|--image <IMAGE>> <CONTAINER_ID>\n" +
			"       hybrid-runtime create --bundle <BUNDLE> <CONTAINER_ID>",
		arguments: [][2]string{{containerID, "Name of the container: letters, digits, or any of _+-."}},
		least:     1, most: 1,
		options: func(o *options) { given = o; sourceOptions(o, &c) },
		run: func(args []string) error {
			if err := checkSource(given, &c); err != nil {
				return err
			}
			r, err := a.runtime()
			if err != nil {
				return err
			}
			// create undoes what it did; other verbs may be interrupted anywhere
			ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			c.SystemdCgroup = a.systemd
			return r.Create(ctx, args[0], c)
		},
	}
}

// sourceOptions declares what a container is made of, and where it is put.
func sourceOptions(o *options, c *runtime.CreateOptions) {
	o.string(&c.Firmware, "firmware", "f", "FIRMWARE", "Path to the firmware directory")
	o.string(&c.Image, "image", "i", "IMAGE", "Firmware container image name")
	o.string(&c.Bundle, "bundle", "b", "BUNDLE", "Path to the OCI bundle directory [default: . if it is one]")
	o.string(&c.Processor, "processor", "p", "PROCESSOR", "Remote processor to use, of those that fit")
	o.bool(&c.Attach, "attach", "", "Take over a core that the boot loader started")
	o.string(&c.OnStop, "on-stop", "", "WHAT", "What becomes of such a core in the end: detach or stop [default: detach]")
	o.string(&c.Coredump, "coredump", "", "DIR", "Keep a dump of the core's memory in DIR after a crash")
	o.string(&c.Heartbeat, "heartbeat", "", "TIME", "Take so long a time without output for a crash, as 5s")
	o.string(&c.Console, "console", "", "WHAT", "Output of the firmware: all, or trace to leave its terminals to others [default: all]")
	o.string(&c.ConsoleSocket, "console-socket", "", "SOCKET", "Unix socket that gets the container's terminal")
	o.string(&c.PIDFile, "pid-file", "", "FILE", "File to write the process number of the container to")
	o.int(&c.PreserveFDs, "preserve-fds", "", "N", "Keep N more descriptors open, from 3 on, as long as the container runs")
	o.accept("no-pivot", "no-new-keyring") // no file system and no keyring is made for a firmware
}

func checkSource(o *options, c *runtime.CreateOptions) error {
	if c.PreserveFDs < 0 {
		return usagef("--preserve-fds %d: want how many", c.PreserveFDs)
	}
	n := 0
	if _, err := os.Stat("config.json"); err == nil && !o.given("firmware", "f", "image", "i", "bundle", "b") {
		c.Bundle = "." // the default of other runtimes
		return nil
	}
	for _, names := range [][]string{{"firmware", "f"}, {"image", "i"}, {"bundle", "b"}} {
		if o.given(names...) {
			n++
		}
	}
	if n == 0 && c.Attach {
		return nil
	}
	if n != 1 {
		return usagef("want one of --firmware, --image and --bundle, got %d", n)
	}
	if c.Firmware == "" && c.Image == "" && c.Bundle == "" {
		return usagef("the path of the firmware, image or bundle is empty")
	}
	return nil
}
