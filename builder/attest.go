package builder

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tonistiigi/go-csvvalue"
)

// attestTypes are the attestations that BuildKit makes.
var attestTypes = []string{"provenance", "sbom"}

// parseAttests parses --attest, --provenance and --sbom as buildx does. The result
// is what the front end is told, without the types that are switched off: for
// BuildKit, naming one with any value switches it on.
//
// Unlike buildx there is none unless one is asked for: an attestation makes an index
// of the image, which the docker archive cannot hold.
func (r *Request) parseAttests() (map[string]string, error) {
	attests := map[string]string{}
	for _, flag := range r.Attests {
		if err := addAttest(attests, "--attest", flag); err != nil {
			return nil, err
		}
	}
	for _, short := range [][2]string{{"provenance", r.Provenance}, {"sbom", r.SBOM}} {
		kind, value := short[0], short[1]
		if value == "" {
			continue
		}
		spec := "type=" + kind + "," + value
		if on, err := strconv.ParseBool(value); err == nil {
			spec = "type=" + kind + ",disabled=" + strconv.FormatBool(!on)
		}
		if err := addAttest(attests, "--"+kind, spec); err != nil {
			return nil, err
		}
	}
	return attests, nil
}

func addAttest(attests map[string]string, flag, spec string) error {
	fields, err := csvvalue.Fields(spec, nil)
	if err != nil {
		return usageErrorf("%s %q: %w", flag, spec, err)
	}
	var kind string
	disabled := false
	attrs := map[string]string{}
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return usageErrorf("%s %q: want KEY=VALUE, got %q", flag, spec, field)
		}
		switch strings.ToLower(strings.TrimSpace(key)) {
		case keyType:
			kind = value
		case "disabled":
			if disabled, err = strconv.ParseBool(value); err != nil {
				return usageErrorf("%s %q: disabled=%s: want true or false", flag, spec, value)
			}
		default:
			attrs[key] = value
		}
	}
	if !slices.Contains(attestTypes, kind) {
		return usageErrorf("%s %q: want type=%s", flag, spec, strings.Join(attestTypes, "|"))
	}
	if disabled {
		delete(attests, kind)
		return nil
	}
	pairs := []string{"type=" + kind}
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		pairs = append(pairs, quoteCSV(k+"="+attrs[k]))
	}
	attests[kind] = strings.Join(pairs, ",")
	return nil
}

// quoteCSV quotes a field of a CSV line that holds what would end it.
func quoteCSV(field string) string {
	if !strings.ContainsAny(field, `",`+"\n") {
		return field
	}
	return `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
}
