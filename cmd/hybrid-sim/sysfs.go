package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

func sysfsCommand() *cobra.Command {
	var name, greeting, booted string
	var verbose, noKmsg, detached, run bool
	var processors int
	cmd := &cobra.Command{
		Use:   "sysfs [flags] DIR",
		Short: "Serve a board's remote processors as files, until interrupted",
		Long: `Serve a board's remote processors as files below DIR, until interrupted.

DIR stands for / of the board: DIR/sys is what its kernel shows, DIR/dev/kmsg what it
logs, and firmware is looked for in DIR/lib/firmware. The kernel is imitated to the errno. The cores only
pretend: what firmware prints, and when it crashes, is written to
DIR/sim/remoteproc0/control; reading that file shows the commands. With --run they
execute their firmware.

Needs root and /dev/fuse. Exit codes: 0 when interrupted, 125 if the board cannot be
served, 2 for usage errors.`,
		Example: `  hybrid-sim sysfs --board imx8m-mini /tmp/board &
  cat /tmp/board/sys/class/remoteproc/remoteproc0/state
  echo trace hello >/tmp/board/sim/remoteproc0/control`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return usageError(errors.New("which folder? hybrid-sim sysfs DIR"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := board.Lookup(name)
			if err != nil {
				return usageError(err)
			}
			if processors < 1 {
				return usageError(fmt.Errorf("--processors=%d: at least one of each kind", processors))
			}
			config := sysfs.Of(b).Times(processors)
			config.Greeting, config.NoKmsg, config.Run = greeting, noKmsg, run
			if err := boot(&config, detached, booted); err != nil {
				return err
			}
			if verbose {
				config.Log = os.Stderr
			}
			server, err := sysfs.Mount(args[0], config)
			if err != nil {
				return &exitError{exitBoard, err}
			}
			var nodes []string
			for _, p := range config.Processors {
				nodes = append(nodes, p.NodeName)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s (%s) at %s\n", b.Name(), strings.Join(nodes, ", "), args[0])
			<-cmd.Context().Done()
			if err := server.Unmount(); err != nil {
				return &exitError{exitBoard, err}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&name, "board", "b", "imx8m-mini", "simulate this `board` of the catalogue")
	f.IntVarP(&processors, "processors", "n", 1, "let the board have `n` processors of each kind")
	f.BoolVar(&run, "run", false, "let the cores execute their firmware, in QEMU; only for boards with the memory of qemu-virt")
	f.BoolVar(&detached, "detached", false, "let a boot loader have started the cores: they are detached")
	f.StringVar(&booted, "booted", "", "let a boot loader have started this firmware `file` on the cores; implies --detached")
	f.StringVar(&greeting, "greeting", "", "let firmware print this `line` when it boots; "+sysfs.FirmwareName+" is its name")
	f.BoolVar(&noKmsg, "no-kmsg", false, "leave DIR/dev/kmsg out, as where it may not be read")
	f.BoolVarP(&verbose, "verbose", "v", false, "show the kernel's log on standard error")
	return cmd
}

// bootedTrace is the size of the trace buffer of firmware of which nothing is known.
const bootedTrace = 4096

// boot does what a boot loader does that starts the cores.
func boot(config *sysfs.Config, detached bool, file string) error {
	if !detached && file == "" {
		return nil
	}
	var firmware []byte
	if file != "" {
		var err error
		if firmware, err = os.ReadFile(file); err != nil {
			return &exitError{exitBoard, fmt.Errorf("firmware of the boot loader: %w", err)}
		}
	}
	for i := range config.Processors {
		p := &config.Processors[i]
		p.Attached, p.Booted, p.AttachedTrace = true, firmware, bootedTrace
	}
	return nil
}
