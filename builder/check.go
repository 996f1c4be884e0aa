package builder

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/firmware/check"
)

// CheckAlone is the value of --check where none was given: an error, because buildx's
// flag of that name does something else.
const CheckAlone = "MODE"

// policy says what becomes of findings. Its zero value fails on errors and prints
// warnings.
type policy struct {
	mode checkMode
	skip []firmware.Code
}

type checkMode string

const (
	checkOff    checkMode = "off"
	checkWarn   checkMode = "warn"
	checkError  checkMode = "error"
	checkStrict checkMode = "strict"
)

// parsePolicy parses --check: [MODE][,skip=CODE]…
func parsePolicy(s string) (policy, error) {
	var p policy
	switch s {
	case "":
		return p, nil
	case CheckAlone:
		return p, usageErrorf("--check wants a value: --check=off|warn|error|strict[,skip=HB005]; to lint the Dockerfile use --call=check")
	}
	for part := range strings.SplitSeq(s, ",") {
		code, skips := strings.CutPrefix(part, "skip=")
		mode := checkMode(part)
		switch {
		case skips && slices.Contains(check.Codes(), firmware.Code(code)):
			p.skip = append(p.skip, firmware.Code(code))
		case skips:
			return p, usageErrorf("--check=%s: no check has the code %q; docs/checks.md lists them, HB001 to %s", s, code, check.Codes()[len(check.Codes())-1])
		case p.mode != "":
			return p, usageErrorf("--check=%s: %s and %s, want one of them", s, p.mode, part)
		case slices.Contains([]checkMode{checkOff, checkWarn, checkError, checkStrict}, mode):
			p.mode = mode
		default:
			return p, usageErrorf("--check=%s: unknown %q, want off, warn, error, strict or skip=CODE", s, part)
		}
	}
	return p, nil
}

// judged are findings of an image as a build tells them: a line each, with the code
// first.
type judged struct {
	policy   policy
	failures []string
	codes    []firmware.Code // of failures
	warnings []string
}

// add tells a finding about what (the file, the Dockerfile's line). Where is told
// first if the build fails of it: there the author can do something.
func (j *judged) add(where, what string, f firmware.Finding) {
	if j.policy.mode == checkOff || slices.Contains(j.policy.skip, f.Code) {
		return
	}
	line := string(f.Code) + ": "
	if j.policy.mode == checkStrict || (f.Fatal && j.policy.mode != checkWarn) {
		if where != what {
			line += where + ": "
		}
		j.failures, j.codes = append(j.failures, line+what+": "+f.Message), append(j.codes, f.Code)
		return
	}
	j.warnings = append(j.warnings, line+what+": "+f.Message)
}

// err is the first failure, with the codes of the others.
func (j *judged) err() error {
	switch len(j.failures) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s", j.failures[0])
	}
	var others []string
	for _, c := range j.codes[1:] {
		others = append(others, string(c))
	}
	return fmt.Errorf("%s (and %s; --check=warn prints all)", j.failures[0], strings.Join(others, ", "))
}
