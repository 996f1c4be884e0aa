// Package sdk holds what is known about the SDKs that firmware is built with: which
// one a project wants, what it calls the boards, a first project for each; and it
// makes the base image that their compilers run in. The Dockerfiles are in package
// dockerfiles.
package sdk

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// The SDKs.
const (
	BareMetal  = "baremetal"
	MCUXpresso = "mcuxpresso"
	STM32Cube  = "stm32cube"
	Zephyr     = "zephyr"
)

// Build arguments that tell a Dockerfile what the SDK calls the target.
const (
	ArgBoard  = "SDK_BOARD"
	ArgDevice = "SDK_DEVICE"
)

//go:embed baremetal
var embedded embed.FS

// Names are the SDKs, sorted.
func Names() []string { return []string{BareMetal, MCUXpresso, STM32Cube, Zephyr} }

// Known refuses a name that is no SDK.
func Known(name string) error {
	if !slices.Contains(Names(), name) {
		return fmt.Errorf("unknown SDK %q, there are: %s", name, strings.Join(Names(), ", "))
	}
	return nil
}

// Sources returns the files of the SDK name if they are part of this program, and
// nil if its Dockerfile fetches them.
func Sources(name string) (fs.FS, error) {
	if err := Known(name); err != nil {
		return nil, err
	}
	if name != BareMetal {
		return nil, nil
	}
	return fs.Sub(embedded, name)
}
