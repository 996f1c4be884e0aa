package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/project"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of " + project.FileName,
		Long: `Print the JSON schema of ` + project.FileName + `, for editors that complete and check it:

  hybrid schema > hybrid.schema.json

and as the first line of the file:

  # yaml-language-server: $schema=hybrid.schema.json`,
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := project.SchemaJSON()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
			return err
		},
	}
}
