package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hybrid-containers/hybrid/runtime/delegate"
)

// setupName is the program that edits the configuration of engines: what parses that
// has no place in a runtime that is started for each call.
const setupName = "hybrid-setup"

var errNoSetup = errors.New(setupName + " is neither beside hybrid-runtime nor in PATH (it is in the same archive)")

// setup is a verb of hybrid-setup, which gets the arguments as they are.
func (a *app) setup(name, short string) *verb {
	return &verb{
		name: name, short: short, usage: "[OPTIONS], those of " + setupName + " " + name,
		more: true, raw: true,
		run: func([]string) error {
			program, err := findSetup()
			if err != nil {
				return err
			}
			return delegate.Exec(program, a.args)
		},
	}
}

// findSetup is the program beside this one, else the one in PATH.
func findSetup() (string, error) {
	if self, err := os.Executable(); err == nil {
		if program, err := exec.LookPath(filepath.Join(filepath.Dir(self), setupName)); err == nil {
			return program, nil
		}
	}
	program, err := exec.LookPath(setupName)
	if err != nil {
		return "", errNoSetup
	}
	return program, nil
}
