// Command hybrid-runtime is an OCI runtime whose containers are firmware on remote
// processors. One file a verb; what the verbs do is package runtime.
package main

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/runtime"
	"github.com/hybrid-containers/hybrid/runtime/monitor"
)

// version is set when a release is linked.
var version = ""

// Exit codes of the command, not of containers.
const (
	exitError = 1
	exitUsage = 2
)

func main() {
	if os.Args[0] == monitor.Argv0 {
		os.Exit(monitor.Main())
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	a := &app{}
	root := a.command()
	root.SetArgs(args)
	called, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	// several errors are a line each, and names of files may hold anything
	err = &lineError{err}
	a.report(err)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "hybrid-runtime: %v (%s --help)\n", err, called.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(os.Stderr, "hybrid-runtime: %v\n", err)
	return exitError
}

// lineError is an error in one line.
type lineError struct{ err error }

func (e *lineError) Error() string { return strings.ReplaceAll(e.err.Error(), "\n", "; ") }
func (e *lineError) Unwrap() error { return e.err }

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// app holds the options that stand before the verb.
type app struct {
	root      string
	sysroot   string
	log       string
	logFormat string
	debug     bool
}

func (a *app) runtime() (*runtime.Runtime, error) { return runtime.New(a.root, a.sysroot) }

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "hybrid-runtime",
		Short:         "Deploy an application across available embedded cores.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unrecognized command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if v, _ := cmd.Flags().GetBool("version"); v {
				fmt.Fprint(cmd.OutOrStdout(), versionText())
				return nil
			}
			fmt.Fprint(cmd.ErrOrStderr(), help(cmd))
			return usagef("no command given")
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.logFormat != "text" && a.logFormat != "json" {
				return usagef("--log-format %q: want text or json", a.logFormat)
			}
			return nil
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVar(&a.root, "root", "", "Folder of the containers' state [default: /run/hybrid/containers]")
	f.StringVar(&a.log, "log", "", "File that errors are appended to")
	f.StringVar(&a.logFormat, "log-format", "text", "Format of --log: text or json [default: text]")
	f.StringVar(&a.sysroot, "sysroot", os.Getenv("HYBRID_SYSROOT"), "Folder that holds /sys, /dev, /run and /lib/firmware [env: HYBRID_SYSROOT]")
	f.BoolVar(&a.debug, "debug", false, "Accepted, as engines give it")
	root.Flags().BoolP("version", "V", false, "Print version")
	annotate(f.Lookup("root"), "DIR")
	annotate(f.Lookup("log"), "FILE")
	annotate(f.Lookup("log-format"), "FORMAT")
	annotate(f.Lookup("sysroot"), "DIR")
	_ = f.MarkHidden("debug")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { fmt.Fprint(cmd.OutOrStdout(), help(cmd)) })
	root.SetHelpCommand(helpCommand())
	root.AddCommand(a.create(), a.start(), a.state(), a.kill(), a.delete(), a.list(), a.logs())
	return root
}

// containerID is the Args of verbs that take one.
func containerID(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usagef("<CONTAINER_ID> is missing")
	case len(args) > 1:
		return usagef("unexpected argument %q", args[1])
	}
	return nil
}

func versionText() string {
	v := version
	if v == "" {
		v = "devel"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			v = info.Main.Version
		}
	}
	return fmt.Sprintf("hybrid-runtime version %s\nspec: %s\ngo: %s\n", v, specs.Version, goruntime.Version())
}
