//go:build kernel

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSysfs serves a board until it is interrupted.
func TestSysfs(t *testing.T) {
	dir := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, ready := io.Pipe()
	cmd := root()
	cmd.SetArgs([]string{"sysfs", "--board", "imx8m-mini", dir})
	cmd.SetOut(ready)
	end := make(chan error, 1)
	go func() { end <- cmd.ExecuteContext(ctx) }()

	b := make([]byte, 256)
	n, err := out.Read(b)
	if want := "imx8m-mini (imx8mm-cm4) at " + dir + "\n"; string(b[:n]) != want || err != nil {
		t.Fatalf("says %q, %v; want %q", b[:n], err, want)
	}
	state, err := os.ReadFile(filepath.Join(dir, "sys/class/remoteproc/remoteproc0/state"))
	if string(state) != "offline\n" || err != nil {
		t.Errorf("state %q, %v", state, err)
	}
	interrupt()
	select {
	case err := <-end:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("does not end")
	}
	if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), dir) {
		t.Error("still mounted")
	}
}
