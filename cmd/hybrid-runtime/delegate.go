package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybrid-containers/hybrid/runtime"
	"github.com/hybrid-containers/hybrid/runtime/delegate"
)

// foreign reports whether a verb is about a container of another runtime.
func (a *app) foreign(verb string, args []string) bool {
	switch verb {
	case "start", "state", "kill", "delete", "ps", "events", "exec", "pause", "resume", "update", "checkpoint":
	default:
		return false // by the bundle, or ours alone
	}
	id, ok := idOf(verb, args)
	if !ok || id == "" || id == "." || id == ".." || strings.Contains(id, "/") {
		return false
	}
	if r, err := a.runtime(); err != nil || r.Owns(id) {
		return false
	}
	return delegate.Owns(a.root, id)
}

// idOf is the first argument of a verb of runc: options of its own, and their values,
// are skipped.
func idOf(verb string, args []string) (string, bool) {
	var plain []string // options without a value
	switch verb {
	case "kill":
		plain = []string{"all", "a"}
	case "delete":
		plain = []string{"force", "f"}
	case "events":
		plain = []string{"stats"}
	case "exec":
		plain = []string{"tty", "t", "detach", "d", "no-new-privs", "ignore-paused"}
	case "checkpoint":
		plain = []string{"leave-running", "tcp-established", "ext-unix-sk", "shell-job", "lazy-pages", "file-locks", "pre-dump", "auto-dedup"}
	}
	for i := 0; i < len(args); i++ {
		option, isOption := strings.CutPrefix(args[i], "-")
		switch {
		case args[i] == "--":
			if i+1 < len(args) {
				return args[i+1], true
			}
			return "", false
		case !isOption:
			return args[i], true
		}
		option = strings.TrimPrefix(option, "-")
		if !strings.Contains(option, "=") && !slices.Contains(plain, option) && verb != "start" && verb != "state" {
			i++
		}
	}
	return "", false
}

// handOver becomes the runtime for Linux containers. Its arguments are ours, without
// the options that it does not know; they stand before the verb.
func (a *app) handOver(args []string, verb int) error {
	program, err := delegate.Find(a.delegate)
	if err != nil {
		return fmt.Errorf("%w: %w", runtime.ErrLinux, err)
	}
	var theirs []string
	for i := 0; i < verb; i++ {
		name, _, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if strings.HasPrefix(args[i], "-") && (name == "runtime-delegate" || name == "sysroot") {
			if !hasValue {
				i++
			}
			continue
		}
		theirs = append(theirs, args[i])
	}
	return delegate.Exec(program, append(theirs, args[verb:]...))
}
