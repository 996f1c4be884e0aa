package main

import (
	"os"
	"path/filepath"
)

// runtimeName is the program that is run for each call.
const runtimeName = "hybrid-runtime"

// binary is the runtime beside the shim, else its name, which is looked for in PATH.
func binary() string {
	self, err := os.Executable()
	if err != nil {
		return runtimeName // /proc is not there: the runtime will say so
	}
	return beside(self)
}

func beside(self string) string {
	file := filepath.Join(filepath.Dir(self), runtimeName)
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return runtimeName
	}
	return file
}
