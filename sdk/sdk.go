// Package sdk holds the SDKs that firmware is built with, and makes the base
// images that their compilers run in.
package sdk

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Default is the SDK that is used where none is named.
const Default = "baremetal"

//go:embed baremetal
var embedded embed.FS

// Names are the SDKs that are part of this program, sorted.
func Names() []string {
	entries, err := embedded.ReadDir(".")
	if err != nil {
		panic(err) // the root of an embed.FS can always be read
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// Sources returns the files of the SDK name.
func Sources(name string) (fs.FS, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("unknown SDK %q, there are: %s", name, strings.Join(Names(), ", "))
	}
	return fs.Sub(embedded, name)
}
