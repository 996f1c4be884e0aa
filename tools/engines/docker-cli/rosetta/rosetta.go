// Package rosetta stands for the module that tells Docker's client whether macOS
// translates it: its answers on Linux.
package rosetta

func Available() bool    { return false }
func Enabled() bool      { return false }
func NativeArch() string { return "" }
