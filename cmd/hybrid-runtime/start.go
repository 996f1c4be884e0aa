package main

import "github.com/spf13/cobra"

func (a *app) start() *cobra.Command {
	return &cobra.Command{
		Use:         "start",
		Short:       "Start a created container",
		Annotations: map[string]string{usageLine: "<CONTAINER_ID>"},
		Args:        containerID,
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			return r.Start(args[0])
		},
	}
}
