package main

import "github.com/spf13/cobra"

func (a *app) delete() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:         "delete",
		Short:       "Deletes any resources held by the container",
		Annotations: map[string]string{usageLine: "[OPTIONS] <CONTAINER_ID>"},
		Args:        containerID,
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := a.runtime()
			if err != nil {
				return err
			}
			return r.Delete(args[0], force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Forcibly deletes the container if it is still running (using SIGKILL)")
	return cmd
}
