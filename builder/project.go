package builder

import (
	"maps"
	"os"
	"regexp"
	"slices"

	"github.com/hybrid-containers/hybrid/image"
	file "github.com/hybrid-containers/hybrid/project"
)

// saysTarget finds what flags in the grammars of --output, --annotation and --label
// say about the target.
var saysTarget = regexp.MustCompile(`(?:^|[,:]|annotation(?:-manifest)?(?:\[[^\]]*\])?\.)(?:board|mcu)=`)

// fill completes the request with the project's hybrid.yaml, where there is one.
// Flags come before it: its targets count only if no flag names one.
func (r *Request) fill() error {
	if !isFolder(r.Path) {
		return nil // not there, or somewhere else: origin says which
	}
	f, err := file.Load(r.Path)
	if err != nil || f == nil {
		return err
	}
	if r.SDK == "" {
		r.SDK = f.SDK
	}
	if r.Firmware == "" {
		r.Firmware = f.Firmware
	}
	if len(r.Tags) == 0 && f.Name != "" {
		r.Tags = []string{f.Name}
	}
	own, err := parseBuildArgs(r.BuildArgs)
	if err != nil {
		return err
	}
	r.BuildArgs = append(assignments(f.Args, own), r.BuildArgs...)
	flags := slices.Concat(r.Outputs, r.Annotations, r.Labels)
	if r.Target != (image.Target{}) || len(r.Targets) > 0 || slices.ContainsFunc(flags, saysTarget.MatchString) {
		return nil
	}
	r.Pack = r.Pack || f.Pack
	for _, t := range f.Targets {
		flag := image.Target{Board: t.Board, MCU: t.MCU}.String()
		for _, a := range assignments(t.Args, own) {
			flag += "," + quoteCSV(a)
		}
		r.Targets = append(r.Targets, flag)
	}
	r.targetsFrom = file.FileName
	return nil
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// assignments are arguments as NAME=VALUE, without those that flags set.
func assignments(args map[string]file.Text, flags map[string]string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if _, ok := flags[name]; !ok {
			all = append(all, name+"="+string(args[name]))
		}
	}
	return all
}
