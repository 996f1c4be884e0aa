package main

import (
	"context"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime"
)

func (a *app) create() *cobra.Command {
	var o runtime.CreateOptions
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Create a container",
		Annotations: map[string]string{
			usageLine: "<--firmware <FIRMWARE>|--image <IMAGE>> <CONTAINER_ID>\n" +
				"       hybrid-runtime create --bundle <BUNDLE> <CONTAINER_ID>",
			arguments: "<CONTAINER_ID>\tName of the container: letters, digits, or any of _+-.",
		},
		Args: containerID,
		RunE: func(cmd *cobra.Command, args []string) error {
			given := 0
			for _, f := range []string{"firmware", "image", "bundle"} {
				if cmd.Flags().Changed(f) {
					given++
				}
			}
			if given != 1 {
				return usagef("want one of --firmware, --image and --bundle, got %d", given)
			}
			if o.Firmware == "" && o.Image == "" && o.Bundle == "" {
				return usagef("the path of the firmware, image or bundle is empty")
			}
			r, err := a.runtime()
			if err != nil {
				return err
			}
			// create undoes what it did; other verbs may be interrupted anywhere
			ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			return r.Create(ctx, args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.Firmware, "firmware", "f", "", "Path to the firmware directory")
	f.StringVarP(&o.Image, "image", "i", "", "Firmware container image name")
	f.StringVarP(&o.Bundle, "bundle", "b", "", "Path to the OCI bundle directory")
	f.StringVarP(&o.Processor, "processor", "p", "", "Remote processor to use, of those that fit")
	f.StringVar(&o.PIDFile, "pid-file", "", "File to write the process number of the container to")
	annotate(f.Lookup("firmware"), "FIRMWARE")
	annotate(f.Lookup("image"), "IMAGE")
	annotate(f.Lookup("bundle"), "BUNDLE")
	annotate(f.Lookup("processor"), "PROCESSOR")
	annotate(f.Lookup("pid-file"), "FILE")
	return cmd
}
