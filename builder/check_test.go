package builder

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/firmware"
)

func TestParsePolicy(t *testing.T) {
	for in, want := range map[string]policy{
		"":                             {},
		"off":                          {mode: checkOff},
		"warn":                         {mode: checkWarn},
		"error":                        {mode: checkError},
		"strict,skip=HB005,skip=HB019": {mode: checkStrict, skip: []firmware.Code{"HB005", "HB019"}},
		"skip=HB023":                   {skip: []firmware.Code{"HB023"}},
		"skip=HB023,error":             {mode: checkError, skip: []firmware.Code{"HB023"}},
	} {
		if got, err := parsePolicy(in); err != nil || got.mode != want.mode || !slices.Equal(got.skip, want.skip) {
			t.Errorf("%q is %+v, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		CheckAlone:      "--check wants a value: --check=off|warn|error|strict[,skip=HB005]; to lint the Dockerfile use --call=check",
		"true":          `unknown "true", want off, warn, error, strict or skip=CODE`,
		"off,warn":      "off and warn, want one of them",
		"skip=HB999":    `no check has the code "HB999"`,
		"skip=":         `no check has the code ""`,
		"strict,,error": `unknown ""`,
	} {
		_, err := parsePolicy(in)
		var usage *UsageError
		if in == "strict,,error" {
			want = "strict and , want one"
		}
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", in, err, want)
		}
	}
}

func TestJudged(t *testing.T) {
	findings := []firmware.Finding{
		{Code: "HB002", Fatal: true, Message: "wrong machine"},
		{Code: "HB008", Fatal: true, Message: "no Thumb"},
		{Code: "HB005", Message: "no table"},
	}
	const (
		wrong = "HB002: D:3: firmware /a: wrong machine"
		alone = "HB005: firmware /a: no table"
	)
	for _, c := range []struct {
		check, err string
		warnings   []string
	}{
		{"", wrong + " (and HB008; --check=warn prints all)", []string{alone}},
		{"error,skip=HB008", wrong, []string{alone}},
		{"skip=HB002,skip=HB008", "", []string{alone}},
		{"warn", "", []string{"HB002: firmware /a: wrong machine", "HB008: firmware /a: no Thumb", alone}},
		{"warn,skip=HB002", "", []string{"HB008: firmware /a: no Thumb", alone}},
		{"strict", wrong + " (and HB008, HB005; --check=warn prints all)", nil},
		{"off", "", nil},
	} {
		p, err := parsePolicy(c.check)
		if err != nil {
			t.Fatal(err)
		}
		j := judged{policy: p}
		for _, f := range findings {
			j.add("D:3", "firmware /a", f)
		}
		said := ""
		if err := j.err(); err != nil {
			said = err.Error()
		}
		if said != c.err || !slices.Equal(j.warnings, c.warnings) {
			t.Errorf("--check=%s: error %q, warnings %q", c.check, said, j.warnings)
		}
	}
}
