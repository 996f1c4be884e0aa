package main

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

// buildx are the options of docker buildx build (of 2026-08), but for those that it keeps
// for the classic builder and ignores.
var buildx = []string{
	"add-host", "allow", "annotation", "attest", "build-arg", "build-context", "builder", "cache-from", "cache-to", "call",
	"cgroup-parent", "check", "debug", "file", "iidfile", "label", "load", "metadata-file", "network", "no-cache",
	"no-cache-filter", "output", "platform", "policy", "progress", "provenance", "pull", "push", "quiet", "resource", "sbom",
	"secret", "shm-size", "ssh", "tag", "target", "ulimit",
}

// The table of options in docs/build.md has every option that there is, here or in
// buildx, and no other.
func TestOptionTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/build.md")
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(buildx)
	flags := buildCommand().Flags()
	flags.VisitAll(func(f *pflag.Flag) { want = append(want, f.Name) })
	slices.Sort(want)
	want = slices.DeleteFunc(slices.Compact(want), func(name string) bool { return name == "help" })

	var got []string
	row := regexp.MustCompile("(?m)^\\| ((?:`-[^`]+`(?:, )?)+) \\| ([^|]+) \\| ([^|]+) \\|$")
	option := regexp.MustCompile("`--([a-z-]+)`")
	for _, cells := range row.FindAllStringSubmatch(string(text), -1) {
		for _, o := range option.FindAllStringSubmatch(cells[1], -1) {
			got = append(got, o[1])
			if inBuildx := slices.Contains(buildx, o[1]); inBuildx == (cells[2] == "–") {
				t.Errorf("--%s: the table says of buildx: %s", o[1], cells[2])
			}
			if missing := flags.Lookup(o[1]) == nil; missing != (len(cells[3]) > 3 && cells[3][:3] == "no:") {
				t.Errorf("--%s: the table says of us: %s", o[1], cells[3])
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the table has\n%v\nbut there are\n%v", got, want)
	}
}
