package main

import "fmt"

// unsupported are verbs of other runtimes that make no sense for firmware, and why; with
// the options that have no value there.
var unsupported = []struct {
	name, why string
	bools     []string
}{
	{"pause", "the kernel can start and stop a remote processor, not pause it", nil},
	{"resume", "the kernel can start and stop a remote processor, not pause it", nil},
	{"exec", "the firmware is all that runs on a remote processor", []string{"tty", "t", "detach", "d", "no-new-privs", "ignore-paused"}},
	{"update", "a remote processor has no resources that can be limited", nil},
	{"checkpoint", "the kernel cannot read the registers of a remote processor", []string{"leave-running", "tcp-established", "ext-unix-sk", "shell-job", "lazy-pages", "file-locks", "pre-dump", "auto-dedup"}},
	{"restore", "the kernel cannot write the registers of a remote processor", nil},
}

// refuse is a verb that is not supported. It takes any options, as other runtimes
// have them, and has no help.
func refuse(name, why string, bools []string) *verb {
	return &verb{
		name: name,
		raw:  true, plain: name == "exec",
		options: func(o *options) { o.accept(bools...) },
		run:     func([]string) error { return fmt.Errorf("%s is not possible: %s", name, why) },
	}
}
