package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/sim/vm"
	"github.com/hybrid-containers/hybrid/sim/vm/debian"
)

func fetchCommand() *cobra.Command {
	var version string
	cmd := &cobra.Command{
		Use:   "fetch [flags]",
		Short: "Download what the virtual board needs, 45 MB once",
		Long: `Download what the virtual board needs: Debian's armhf kernel and busybox.

They come from the Debian mirror that this machine uses, verified by apt, and are
kept in $HYBRID_CACHE or the user's cache folder. "hybrid-sim vm" does it by itself.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kernel, err := debian.LookupKernel(version)
			if err != nil {
				return usageError(err)
			}
			if err := vm.Missing(); err != nil {
				return &exitError{exitBoard, err}
			}
			cache, err := debian.Cache()
			if err != nil {
				return err
			}
			files, err := debian.Get(cmd.Context(), cache, kernel, os.Stderr)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), files.Kernel)
			return nil
		},
	}
	kernelFlag(cmd, &version)
	return cmd
}

// kernelFlag is --kernel.
func kernelFlag(cmd *cobra.Command, version *string) {
	var all []string
	for _, k := range debian.Kernels() {
		all = append(all, k.Version)
	}
	cmd.Flags().StringVar(version, "kernel", "", fmt.Sprintf("the `version` of Linux, %s (default $%s, or %s)", strings.Join(all, " or "), debian.KernelVariable, all[0]))
}

// noArgs is cobra.NoArgs as a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError(err)
	}
	return nil
}
