package buildkit

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Filter is what du and prune are limited to, in BuildKit's own words.
type Filter struct {
	Filter []string      // all in one, so that a record must match each part
	Keep   time.Duration // used within this time: kept by prune
}

// ParseFilter parses --filter of du and prune, in the grammar of docker buildx:
// KEY=VALUE, with until=DURATION for what was not used for so long, id=REGEXP, and
// KEY!=VALUE, KEY~=REGEXP.
func ParseFilter(filters []string) (Filter, error) {
	var f Filter
	values := map[string]string{}
	for _, s := range filters {
		key, value, ok := strings.Cut(s, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		value = strings.TrimPrefix(strings.TrimSpace(value), "=") // KEY==VALUE is BuildKit's own
		if !ok || key == "" {
			return f, fmt.Errorf("--filter %q: want KEY=VALUE", s)
		}
		if key == "unused-for" { // its old name
			key = "until"
		}
		if old, ok := values[key]; ok && old != value {
			return f, fmt.Errorf("--filter %s=%s and %s=%s: want one value", key, old, key, value)
		}
		values[key] = value
	}
	var parts []string
	for key, value := range values {
		switch {
		case key == "until":
			age, err := time.ParseDuration(value)
			if err != nil || age < 0 {
				return f, fmt.Errorf("--filter until=%s: want a duration such as 24h", value)
			}
			f.Keep = age
		case key == "id":
			parts = append(parts, "id~="+value)
		case strings.HasSuffix(key, "!"), strings.HasSuffix(key, "~"):
			parts = append(parts, key+"="+value)
		case value == "":
			parts = append(parts, key)
		default:
			parts = append(parts, key+"=="+value)
		}
	}
	if len(parts) > 0 {
		slices.Sort(parts)
		f.Filter = []string{strings.Join(parts, ",")}
	}
	return f, nil
}
