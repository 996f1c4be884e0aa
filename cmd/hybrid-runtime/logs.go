package main

import "github.com/spf13/cobra"

func (a *app) logs() *cobra.Command {
	return &cobra.Command{
		Use:         "logs",
		Short:       "Print what the firmware has written",
		Annotations: map[string]string{usageLine: "<CONTAINER_ID>"},
		Args:        containerID,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			return r.Logs(args[0], cmd.OutOrStdout())
		},
	}
}
