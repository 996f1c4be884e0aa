package main

import (
	"encoding/json"

	"github.com/spf13/cobra"
)

func (a *app) state() *cobra.Command {
	return &cobra.Command{
		Use:         "state",
		Short:       "Output the state of a container",
		Annotations: map[string]string{usageLine: "<CONTAINER_ID>"},
		Args:        containerID,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			s, err := r.State(args[0])
			if err != nil {
				return err
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(s)
		},
	}
}
