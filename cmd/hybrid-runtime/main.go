// Command hybrid-runtime is an OCI runtime whose containers are firmware on remote
// processors. One file a verb; what the verbs do is package runtime.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

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
	a := &app{out: os.Stdout, errOut: os.Stderr}
	os.Exit(a.exit(a.run(os.Args[1:])))
}

// app is one run of the command: the options that stand before the verb, and where
// output goes.
type app struct {
	out, errOut io.Writer
	command     string // as far as it is known: for messages
	args        []string

	root      string
	sysroot   string
	log       string
	logFormat string
	delegate  string // runtime for Linux containers
	systemd   bool   // linux.cgroupsPath is one for systemd
}

func (a *app) runtime() (*runtime.Runtime, error) {
	r, err := runtime.New(a.root, a.sysroot)
	if err == nil {
		r.Warn = a.warn
	}
	return r, err
}

// warn says what went wrong without a consequence.
func (a *app) warn(err error) {
	err = &lineError{err}
	a.report("warning", err)
	fmt.Fprintf(a.errOut, "hybrid-runtime: warning: %v\n", err)
}

// writeJSON writes a value as people read it.
func (a *app) writeJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// exit reports an error and returns the exit code.
func (a *app) exit(err error) int {
	if err == nil {
		return 0
	}
	if code := exitCode(0); errors.As(err, &code) {
		return int(code)
	}
	// several errors are a line each, and names of files may hold anything
	err = &lineError{err}
	a.report("error", err)
	if usage, option := (*usageError)(nil), (*runtime.OptionError)(nil); errors.As(err, &usage) || errors.As(err, &option) {
		fmt.Fprintf(a.errOut, "hybrid-runtime: %v (%s --help)\n", err, a.command)
		return exitUsage
	}
	fmt.Fprintf(a.errOut, "hybrid-runtime: %v\n", err)
	return exitError
}

// exitCode is the exit code of a container that run has waited for. There is nothing
// to say about it.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// lineError is an error in one line, without what a terminal would obey: images and
// hooks choose words of it.
type lineError struct{ err error }

func (e *lineError) Error() string {
	var b strings.Builder
	for text := e.err.Error(); text != ""; {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '\n':
			b.WriteString("; ")
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[n:]
	}
	return b.String()
}

func (e *lineError) Unwrap() error { return e.err }

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

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
