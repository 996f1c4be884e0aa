package dockerfiles

import (
	"bufio"
	"bytes"
	"strings"
)

// Pin is something that a Dockerfile fetches, of exactly one version. The Dockerfile
// is where it is written, as the build arguments NAME_VERSION, NAME_COMMIT and
// NAME_URL before the first stage.
type Pin struct {
	Name    string   `json:"name"`
	Version string   `json:"version"` // what people call it
	Commit  string   `json:"commit"`  // what is fetched: a Git commit is the checksum of all that it holds
	URL     string   `json:"url"`
	Args    []string `json:"args"` // build arguments by which another can be chosen
}

// Pins are what the Dockerfile of an SDK fetches, the SDK itself first; none for an
// unknown name, or one that fetches nothing but Debian's packages.
func Pins(sdk string) []Pin {
	_, text, err := Lookup(sdk)
	if err != nil {
		return nil
	}
	var pins []Pin
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "FROM ") {
			break
		}
		arg, value, ok := strings.Cut(strings.TrimPrefix(line, "ARG "), "=")
		name, kind, isPin := cutLast(arg, "_")
		if !ok || !isPin || !strings.HasPrefix(line, "ARG ") {
			continue
		}
		name = strings.ToLower(name)
		switch kind {
		case "VERSION":
			pins = append(pins, Pin{Name: name, Version: value})
			continue
		case "COMMIT", "URL":
		default:
			continue
		}
		if len(pins) == 0 || pins[len(pins)-1].Name != name {
			continue // TestDockerfiles refuses it
		}
		pin := &pins[len(pins)-1]
		pin.Args = append(pin.Args, arg)
		if kind == "COMMIT" {
			pin.Commit = value
		} else {
			pin.URL = value
		}
	}
	return pins
}

// Version is that of the SDK itself; "" if it is part of this program.
func Version(sdk string) string {
	if pins := Pins(sdk); len(pins) > 0 {
		return pins[0].Version
	}
	return ""
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
