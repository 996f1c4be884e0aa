// Package dockerfiles holds one Dockerfile for each SDK, for projects that have
// none of their own. Each starts with the SDK and its compiler, and ends with a
// stage FROM scratch that holds the firmware alone.
package dockerfiles

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

const suffix = ".Dockerfile"

//go:embed *.Dockerfile
var embedded embed.FS

// SDKs are the names that Lookup knows, sorted.
func SDKs() []string {
	entries, err := embedded.ReadDir(".")
	if err != nil {
		panic(err) // the root of an embed.FS can always be read
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), suffix))
	}
	return names
}

// Lookup returns the Dockerfile for sdk and the name that messages call it by.
// All of them take the build arguments BOARD, MCU and NAME (which of the programs
// the image is for; default: the only one), and read their sources from the named
// context "sdk".
func Lookup(sdk string) (name string, text []byte, err error) {
	name = sdk + suffix
	if text, err = embedded.ReadFile(path.Clean(name)); err != nil {
		return "", nil, fmt.Errorf("no Dockerfile for SDK %q, there are: %s", sdk, strings.Join(SDKs(), ", "))
	}
	return name, text, nil
}
