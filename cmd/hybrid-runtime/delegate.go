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
// the options that it does not know. own are the verb's options, by which what stands
// behind the verb can be told apart; nil leaves that as it is.
func (a *app) handOver(args []string, verb int, own *options) error {
	program, err := delegate.Find(a.delegate)
	if err != nil {
		return fmt.Errorf("%w: %w", runtime.ErrLinux, err)
	}
	var theirs []string
	for i := 0; i < verb; i++ {
		if isOption(args[i], "runtime-delegate", "sysroot") {
			if !strings.Contains(args[i], "=") {
				i++
			}
			continue
		}
		theirs = append(theirs, args[i])
	}
	rest := args[verb:]
	if own != nil {
		var forAll []string
		forAll, rest = split(rest, own)
		theirs = append(theirs, forAll...)
	}
	return delegate.Exec(program, append(theirs, rest...))
}

// isOption reports whether an argument is one of these options, with a value or without.
func isOption(arg string, names ...string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return strings.HasPrefix(arg, "-") && slices.Contains(names, name)
}

// split takes the options of all verbs out of a verb and its arguments, as ours may stand
// there and those of other runtimes may not, and leaves out those that are only ours.
func split(args []string, own *options) (forAll, rest []string) {
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return forAll, append(rest, args[i:]...)
		}
		words := args[i : i+1]
		if own.takesNext(args[i]) && i+1 < len(args) {
			words = args[i : i+2]
			i++
		}
		switch {
		case isOption(words[0], "runtime-delegate", "sysroot"):
		case isOption(words[0], "log", "log-format", "root", "systemd-cgroup", "debug", "criu", "rootless"):
			forAll = append(forAll, words...)
		default:
			rest = append(rest, words...)
		}
	}
	return forAll, rest
}
