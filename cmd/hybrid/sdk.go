package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/dockerfiles"
	"github.com/hybrid-containers/hybrid/sdk"
)

func sdkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sdk",
		Short: "Manage what firmware is built with",
		Args:  subcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(sdkLsCommand(), sdkPullCommand(), sdkBaseCommand())
	return cmd
}

// listedSDK is an SDK as hybrid sdk ls --json prints it.
type listedSDK struct {
	Name   string            `json:"name"`
	Pins   []dockerfiles.Pin `json:"pins"`
	Boards []sdk.Board       `json:"boards"`
	Pulled string            `json:"pulled,omitempty"` // folder; "": it was not
}

func sdkLsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [OPTIONS]",
		Short: "List the SDKs and the versions that they are pinned to",
		Long: `List the SDKs, the versions of what their Dockerfiles fetch, and the Git commits that
these are pinned to. With --json the boards are listed too, by the SDK's names.`,
		Args:                  exactArgs(0),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []listedSDK
			for _, name := range sdk.Names() {
				l := listedSDK{Name: name, Pins: dockerfiles.Pins(name), Boards: sdk.Boards(name)}
				if folder, ok := sdk.Pulled(name, dockerfiles.Version(name)); ok {
					l.Pulled = folder
				}
				all = append(all, l)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(all)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "SDK\tFETCHES\tVERSION\tCOMMIT\tPULLED\tSOURCE")
			for _, l := range all {
				pulled := "no"
				if l.Pulled != "" {
					pulled = "yes"
				}
				if len(l.Pins) == 0 {
					fmt.Fprintf(w, "%s\t-\t%s\t-\t%s\tpart of hybrid\n", l.Name, currentVersion(), pulled)
				}
				for _, p := range l.Pins {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, p.Name, p.Version, p.Commit, pulled, p.URL)
				}
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func sdkPullCommand() *cobra.Command {
	r := builder.Request{Progress: "auto"}
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] " + strings.Join(sdk.Names(), "|") + " [DEST]",
		Short: "Prepare an SDK for builds without network",
		Long: `Fetch an SDK and the programs that build with it, and keep both as OCI layouts in the
cache, where "hybrid build" finds them by itself. With DEST they are put into that
folder, to be carried to another machine and named there:

  hybrid build --build-context sdk=oci-layout://DEST/sdk --build-context tools=oci-layout://DEST/tools …

The folder is printed.`,
		Example: `  hybrid sdk pull zephyr
  hybrid sdk pull mcuxpresso --sdk-archive SDK_2_16_100_EVK-MIMX8MM.zip`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return &builder.UsageError{Err: fmt.Errorf("want %s; see %s --help", cmd.UseLine(), cmd.CommandPath())}
			}
			return nil
		},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.SDK = args[0]
			dest, err := builder.PullFolder(r.SDK)
			if err != nil {
				return err
			}
			if len(args) == 2 {
				dest = args[1]
			}
			if err := builder.Pull(cmd.Context(), r, dest); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), dest)
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&r.SDKArchive, "sdk-archive", "", "archive of the MCUXpresso SDK, FILE|URL[,sha256=HEX]; a URL may need --secret id=nxp_token")
	f.StringArrayVar(&r.Secrets, "secret", nil, "secret, id=NAME[,src=FILE|env=VARIABLE]")
	f.StringArrayVar(&r.BuildArgs, "build-arg", nil, "build argument, NAME=VALUE")
	f.StringArrayVar(&r.Contexts, "build-context", nil, "named context, NAME=docker-image://…|oci-layout://…|URL|FOLDER")
	f.BoolVar(&r.NoCache, "no-cache", false, "fetch everything again")
	f.StringVar(&r.Progress, "progress", "auto", "how progress is shown: auto, plain, tty, quiet or rawjson")
	builderFlags(f, &r.BuildKit)
	return cmd
}

func sdkBaseCommand() *cobra.Command {
	var b sdk.Base
	cmd := &cobra.Command{
		Use:   "base [OPTIONS] DEST",
		Short: "Make the compiler's base image from Debian's packages",
		Long: `Make an OCI layout in the folder DEST that holds Debian with the compiler, for builds
without a registry:

  hybrid build --build-context toolchain=oci-layout://DEST …

The packages are those of a lock, by name, version and checksum, so that every machine
makes the same image. They come from the machine's own Debian mirror, from Debian's,
or from its snapshots. It takes mmdebstrap and about a minute. The digest of the image
is printed.`,
		Args:                  exactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := b.Check(); err != nil {
				return &builder.UsageError{Err: err}
			}
			b.Progress = cmd.ErrOrStderr()
			digest, err := b.Make(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), digest)
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&b.Mirror, "mirror", "", "Debian mirror to fetch from first, http://HOST/debian")
	f.StringVar(&b.Snapshot, "snapshot", "", "take the packages of this date, YYYYMMDD[THHMMSSZ], from snapshot.debian.org")
	f.BoolVar(&b.Unpinned, "unpinned", false, "take the packages that the mirror has today")
	f.StringVar(&b.RootFS, "rootfs", "", "tar of a root file system to use instead of Debian's packages (- for standard input)")
	return cmd
}
