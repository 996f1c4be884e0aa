package main

import "fmt"

// unsupported are verbs of other runtimes that make no sense for firmware, and why.
var unsupported = []struct{ name, why string }{
	{"pause", "the kernel can start and stop a remote processor, not pause it"},
	{"resume", "the kernel can start and stop a remote processor, not pause it"},
	{"exec", "the firmware is all that runs on a remote processor"},
	{"update", "a remote processor has no resources that can be limited"},
	{"checkpoint", "the kernel cannot read the registers of a remote processor"},
	{"restore", "the kernel cannot write the registers of a remote processor"},
}

// refuse is a verb that is not supported. It takes any options, as other runtimes
// have them, and has no help.
func refuse(name, why string) *verb {
	return &verb{
		name: name,
		raw:  true,
		run:  func([]string) error { return fmt.Errorf("%s is not possible: %s", name, why) },
	}
}
