package main

import (
	"io"
	"testing"
)

func TestSysfsUsage(t *testing.T) {
	for _, args := range [][]string{{"sysfs"}, {"sysfs", "a", "b"}, {"sysfs", "--no-such-flag", "a"}, {"sysfs", "--board", "no-such-board", "a"}, {"sysfs", "--processors", "0", "a"}} {
		cmd := root()
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); exitCode(err) != exitUsage {
			t.Errorf("%q: %v, exit code %d", args, err, exitCode(err))
		}
	}
}
