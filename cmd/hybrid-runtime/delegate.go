package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybrid-containers/hybrid/runtime"
	"github.com/hybrid-containers/hybrid/runtime/delegate"
)

// foreign reports whether a verb is about a container of another runtime. Options behind
// the verb may say where that is: what is wrong with them is said later.
func (a *app) foreign(verb string, w words, own *options) bool {
	switch verb {
	case "start", "state", "kill", "delete", "ps", "events", "exec", "pause", "resume", "update", "checkpoint":
	default:
		return false // by the bundle, or ours alone
	}
	_, _ = own.parse(slices.Concat(w.ours, w.forAll))
	if w.id == "" || w.id == "." || w.id == ".." || strings.Contains(w.id, "/") {
		return false
	}
	if r, err := a.runtime(); err != nil || r.Owns(w.id) {
		return false
	}
	return delegate.Owns(a.root, w.id)
}

// handOver becomes the runtime for Linux containers.
func (a *app) handOver(args []string) error {
	program, err := delegate.Find(a.delegate)
	if err != nil {
		return fmt.Errorf("%w: %w", runtime.ErrLinux, err)
	}
	return delegate.Exec(program, args)
}

// isOption reports whether an argument is one of these options, with a value or without.
func isOption(arg string, names ...string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return strings.HasPrefix(arg, "-") && slices.Contains(names, name)
}

// words are those of a command line, by whom they are for.
type words struct {
	ours   []string // options that only we have
	forAll []string // options of all verbs: ours may stand behind one, those of other runtimes may not
	rest   []string // the verb's own
	id     string   // the first that is no option
}

// split tells the words apart; if plain, options end at the first that is none.
func split(args []string, own *options, plain bool) (w words) {
	for i := 0; i < len(args); i++ {
		isArgument := !strings.HasPrefix(args[i], "-")
		if isArgument && w.id == "" {
			w.id = args[i]
		}
		if args[i] == "--" && w.id == "" && i+1 < len(args) {
			w.id = args[i+1]
		}
		if args[i] == "--" || isArgument && plain {
			w.rest = append(w.rest, args[i:]...)
			break
		}
		to, next := &w.rest, i+1
		switch {
		case isOption(args[i], "runtime-delegate", "sysroot"):
			to = &w.ours
		case isOption(args[i], "log", "log-format", "root", "systemd-cgroup", "debug", "criu", "rootless"):
			to = &w.forAll
		}
		if own.takesNext(args[i]) && next < len(args) {
			next++
		}
		*to = append(*to, args[i:next]...)
		i = next - 1
	}
	return w
}
