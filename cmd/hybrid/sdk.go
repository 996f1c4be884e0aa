package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/sdk"
)

func sdkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sdk",
		Short: "Manage what firmware is built with",
		Args:  subcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(sdkBaseCommand())
	return cmd
}

func sdkBaseCommand() *cobra.Command {
	var b sdk.Base
	cmd := &cobra.Command{
		Use:   "base [OPTIONS] DEST",
		Short: "Make the compiler's base image from Debian's packages",
		Long: `Make an OCI layout in the folder DEST that holds Debian with the compiler of the
bare-metal SDK, for builds without a registry:

  hybrid build --build-context toolchain=oci-layout://DEST …

It takes mmdebstrap, about half a minute and the machine's own Debian mirror. The
digest of the image is printed.`,
		Args:                  exactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			b.Progress = cmd.ErrOrStderr()
			digest, err := b.Make(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), digest)
			return err
		},
	}
	cmd.Flags().StringVar(&b.RootFS, "rootfs", "", "tar of a root file system to use instead of Debian's packages (- for standard input)")
	return cmd
}
