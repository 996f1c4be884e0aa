package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/sdk"
)

func buildCommand() *cobra.Command {
	var r builder.Request
	var quiet bool
	cmd := &cobra.Command{
		Use:   "build [OPTIONS] PATH",
		Short: "Build a firmware image",
		Long: `Build a firmware image with BuildKit from PATH: a folder, the URL of a Git repository
or of a tar archive, or - for an archive or a Dockerfile on standard input.

The Dockerfile is PATH/Dockerfile, else the one of the SDK. The finished firmware is
checked against the core it is for, and the image gets its target as annotations,
labels and environment, before anything is exported.

What a project's hybrid.yaml says need not be said here; flags come before it.

BuildKit is the one at BUILDKIT_HOST, else that of the Docker Engine if it has the
containerd image store, else the embedded one, which takes runc, and root or
rootlesskit. --builder chooses.`,
		Example: `  hybrid build --board imx8m-mini --mcu cortex-m4 -t hello examples/hello_world
  hybrid build -o type=oci,dest=hello,tar=false,board=imx8m-mini examples/hello_world
  hybrid build -t registry.example/hello --push examples/hello_world`,
		Args:                  exactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Path = args[0]
			if quiet {
				r.Progress = "quiet"
			}
			result, err := builder.Build(cmd.Context(), r)
			if err != nil {
				return err
			}
			if id := result.ID(); quiet && id != "" {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&r.Target.Board, "board", "", "board that the firmware is for")
	f.StringVar(&r.Target.MCU, "mcu", "", "core of the board (may be left out if it has one kind)")
	f.StringArrayVarP(&r.Tags, "tag", "t", nil, "name of the image, NAME[:TAG]")
	f.StringArrayVarP(&r.Outputs, "output", "o", nil, "where the image goes: type=docker|oci|image|registry|local|tar,dest=…,KEY=VALUE…")
	f.BoolVar(&r.Push, "push", false, "push the image to its registry (type=registry)")
	f.StringVar(&r.Load, "load", "", "load the image into an engine: docker, containerd, podman, or whichever answers")
	f.Lookup("load").NoOptDefVal = "true"
	f.StringVarP(&r.Dockerfile, "file", "f", "", "Dockerfile (- for standard input; default: PATH/Dockerfile, else the SDK's)")
	f.StringVar(&r.SDK, "sdk", "", "SDK to build with, without a Dockerfile: "+strings.Join(sdk.Names(), ", ")+" (default: by the project's files)")
	f.StringVar(&r.SDKArchive, "sdk-archive", "", "archive of the MCUXpresso SDK, FILE|URL[,sha256=HEX]; a URL may need --secret id=nxp_token")
	f.StringArrayVar(&r.Targets, "target-core", nil, "core to build for, BOARD/MCU[,NAME=VALUE…] with build arguments of its own; several make an index")
	f.BoolVar(&r.Pack, "pack", false, "put the firmware of several --target-core into one image, not into an index of images")
	f.StringVar(&r.Firmware, "firmware", "", "the ELF file in the image (default: what ENTRYPOINT names)")
	f.StringVar(&r.Stage, "target", "", "stage of the Dockerfile to build")
	f.StringVar(&r.Platform, "platform", "", "platform of the Linux beside the core (default: the board's)")
	f.StringArrayVar(&r.BuildArgs, "build-arg", nil, "build argument, NAME=VALUE")
	f.StringArrayVar(&r.Contexts, "build-context", nil, "named context, NAME=docker-image://…|oci-layout://…|URL|FOLDER")
	f.StringArrayVar(&r.Annotations, "annotation", nil, "annotation of the manifest, KEY=VALUE")
	f.StringArrayVar(&r.Labels, "label", nil, "label of the image, KEY=VALUE")
	f.StringArrayVar(&r.Secrets, "secret", nil, "secret for RUN --mount=type=secret, id=NAME[,src=FILE|env=VARIABLE]")
	f.StringArrayVar(&r.SSH, "ssh", nil, "SSH agent or keys for RUN --mount=type=ssh, default|NAME[=SOCKET|KEY[,KEY…]]")
	f.BoolVar(&r.Pull, "pull", false, "look for newer base images")
	f.StringVar(&r.Check, "check", "", "checks of the firmware: off, warn, error (default) or strict, and skip=CODE")
	f.Lookup("check").NoOptDefVal = builder.CheckAlone
	f.BoolVar(&r.NoCache, "no-cache", false, "run every step again")
	f.StringArrayVar(&r.NoCacheFilter, "no-cache-filter", nil, "run the steps of these stages again")
	f.StringArrayVar(&r.CacheFrom, "cache-from", nil, "cache to start from: NAME or type=registry|local|…,KEY=VALUE…")
	f.StringArrayVar(&r.CacheTo, "cache-to", nil, "cache to leave: NAME or type=registry|local|inline|…,KEY=VALUE…")
	f.StringVar(&r.Steps.Network, "network", "default", "network of RUN steps: default, none or host")
	f.StringSliceVar(&r.Steps.AddHosts, "add-host", nil, "line for /etc/hosts of RUN steps, NAME:ADDRESS")
	f.StringArrayVar(&r.Steps.Allow, "allow", nil, "what RUN steps may do: network.host, security.insecure, device")
	f.StringArrayVar(&r.Steps.ULimits, "ulimit", nil, "limit of RUN steps, NAME=SOFT[:HARD]")
	f.StringVar(&r.Steps.ShmSize, "shm-size", "", "size of /dev/shm of RUN steps, in bytes or with k, m, g")
	f.StringVar(&r.Steps.CgroupParent, "cgroup-parent", "", "parent cgroup of RUN steps")
	f.StringArrayVar(&r.Steps.Resources, "resource", nil, "limit of RUN steps: memory=512m, cpu-quota=50000, …")
	f.StringArrayVar(&r.Attests, "attest", nil, "attestation, type=provenance|sbom,KEY=VALUE…")
	f.StringVar(&r.Provenance, "provenance", "", "provenance attestation: true, false or mode=min|max,…")
	f.StringVar(&r.SBOM, "sbom", "", "SBOM attestation: true, false or generator=IMAGE,…")
	f.StringVar(&r.Call, "call", "build", "ask the Dockerfile instead of building it: check, outline or targets, with ,format=json")
	f.StringVar(&r.Progress, "progress", envOr("BUILDKIT_PROGRESS", "auto"), "how progress is shown: auto, plain, tty, quiet or rawjson")
	f.BoolVarP(&quiet, "quiet", "q", false, "print the image's ID alone")
	f.StringVar(&r.MetadataFile, "metadata-file", "", "write what was built to this file, as JSON")
	f.StringVar(&r.IIDFile, "iidfile", "", "write the image's ID to this file")
	builderFlags(f, &r.BuildKit)
	completeFlags(cmd)
	return cmd
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
