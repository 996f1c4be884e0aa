package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/hybrid-containers/hybrid/setup"
)

const where = `Without the name of an engine or its file it is all that are found here. --root is for the file
system of an image that is being made: all paths are meant within.`

func installCommand() *cobra.Command {
	o, chosen := setup.Options{}, map[string]*bool{}
	cmd := &cobra.Command{
		Use:   "install [flags]",
		Short: "Add hybrid to the configuration of container engines",
		Long: `Add hybrid to the configuration of container engines, and show what changes.

Everything else in a file stays as it is: comments, order, ends of lines. What it was
is kept beside it, in FILE.hybrid-backup. A second time it changes nothing.

` + where,
		Example: `  hybrid-setup install --dry-run
  hybrid-setup install --docker --containerd
  hybrid-setup install --root /mnt/image --containerd --containerd-version 2.1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			named(&o, chosen)
			changes, err := setup.Install(cmd.Context(), o)
			return errors.Join(err, report(cmd.OutOrStdout(), changes, "has hybrid already", o.DryRun))
		},
	}
	engineFlags(cmd, &o, chosen)
	cmd.Flags().StringVar(&o.Runtime, "runtime", "", "the `path` of hybrid-runtime (default: beside hybrid-setup, else in PATH)")
	cmd.Flags().StringVar(&o.Containerd, "containerd-version", "", "the `release` of containerd, where there is no configuration yet and it cannot be asked")
	cmd.Flags().BoolVar(&o.Force, "force", false, "replace what is configured as hybrid already")
	return cmd
}

func uninstallCommand() *cobra.Command {
	o, chosen := setup.Options{}, map[string]*bool{}
	cmd := &cobra.Command{
		Use:   "uninstall [flags]",
		Short: "Take back what install did",
		Long: `Take back what install did, and show what changes.

A file that nobody has edited since is what it was before, to the byte. From others
what is hybrid's is removed, and nothing else.

` + where,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			named(&o, chosen)
			changes, err := setup.Uninstall(cmd.Context(), o)
			return errors.Join(err, report(cmd.OutOrStdout(), changes, "has no hybrid", o.DryRun))
		},
	}
	engineFlags(cmd, &o, chosen)
	return cmd
}

// engineFlags are those that choose engines and their files.
func engineFlags(cmd *cobra.Command, o *setup.Options, chosen map[string]*bool) {
	f := cmd.Flags()
	f.SortFlags = false
	o.Configs = map[string]string{}
	for _, e := range setup.Engines() {
		chosen[e.Name] = f.Bool(e.Name, false, e.Name)
	}
	for _, e := range setup.Engines() {
		f.Var(fileValue{o.Configs, e.Name}, e.Name+"-config", "the configuration `file` of "+e.Name+", if it is not the usual one")
	}
	f.Var(rootValue{&o.Machine.Root}, "root", "the `folder` that stands for / (default /)")
	f.BoolVar(&o.DryRun, "dry-run", false, "show what would change, and change nothing")
}

// fileValue is a flag that names the file of an engine.
type fileValue struct {
	files  map[string]string
	engine string
}

func (v fileValue) String() string { return v.files[v.engine] }
func (v fileValue) Type() string   { return "file" }
func (v fileValue) Set(s string) error {
	if s == "" {
		return errNoName
	}
	v.files[v.engine] = s
	return nil
}

// errNoName is for what is left of --root "$ROOT" without ROOT: that must not mean /.
var errNoName = errors.New("it is empty")

// rootValue is the flag that names another folder for /.
type rootValue struct{ root *string }

func (v rootValue) String() string { return "" }
func (v rootValue) Type() string   { return "folder" }
func (v rootValue) Set(s string) error {
	if s == "" {
		return errNoName
	}
	if err := isFolder(s); err != nil {
		return err
	}
	*v.root = s
	return nil
}

// isFolder reports why a name is not that of a folder, if it is not.
func isFolder(name string) error {
	var of *fs.PathError
	switch info, err := os.Stat(name); {
	case errors.As(err, &of): // whoever asks has the name
		return of.Err
	case err != nil:
		return err
	case !info.IsDir():
		return errors.New("not a folder")
	}
	return nil
}

func named(o *setup.Options, chosen map[string]*bool) {
	for _, e := range setup.Engines() {
		if *chosen[e.Name] {
			o.Engines = append(o.Engines, e.Name)
		}
	}
}

// report says what became of the files, and what to do now.
func report(out io.Writer, changes []*setup.Change, unchanged string, dry bool) error {
	var b strings.Builder
	var restart []string
	for _, c := range changes {
		name := c.Engine.Name
		switch {
		case !c.Changed():
			fmt.Fprintf(&b, "%s: %s %s\n", name, c.File, unchanged)
		default:
			b.WriteString(difference(c))
			if r := c.Engine.Restart; r != "" && (len(restart) == 0 || restart[len(restart)-1] != r) {
				restart = append(restart, r)
			}
		}
		if c.Backup != "" && c.Changed() && !dry {
			fmt.Fprintf(&b, "%s: what it was is kept in %s\n", name, c.Backup)
		}
		for _, n := range c.Notes {
			fmt.Fprintf(&b, "%s: %s: %s\n", name, c.File, n)
		}
	}
	for _, r := range restart {
		if dry {
			break
		}
		fmt.Fprintf(&b, "now run: %s\n", r)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// difference is a change as diff -u shows it.
func difference(c *setup.Change) string {
	before, after := c.File, c.File
	if c.Before == nil {
		before = "/dev/null"
	}
	if c.After == nil {
		after = "/dev/null"
	}
	text := string(diff.Diff(before, c.Before, after, c.After))
	_, text, _ = strings.Cut(text, "\n") // the command that diff was not
	if text == "" {                      // a file of no bytes comes or goes
		text = fmt.Sprintf("--- %s\n+++ %s\n", before, after)
	}
	return text
}
