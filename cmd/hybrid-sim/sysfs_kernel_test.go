//go:build kernel

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain is the command itself in a process that TestKilled started.
func TestMain(m *testing.M) {
	if os.Getenv("HYBRID_SIM_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestKilled serves a board where a server was killed, and was looked at before.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	serve := func() *exec.Cmd {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "sysfs", dir)
		cmd.Env = append(os.Environ(), "HYBRID_SIM_MAIN=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if n, err := out.Read(make([]byte, 256)); n == 0 {
			_ = cmd.Wait()
			t.Fatalf("does not serve: %v: %s", err, stderr.String())
		}
		if _, err := os.ReadFile(filepath.Join(dir, "sys/class/remoteproc/remoteproc0/state")); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	killed := serve()
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	second := serve()
	if err := second.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Error(err)
	}
	if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), dir) {
		t.Error("still mounted")
	}
}

// TestSysfs serves boards until it is interrupted.
func TestSysfs(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		says   string
		states []string
		log    bool
	}{
		"a board":            {[]string{"--board", "imx8m-mini"}, "imx8m-mini (imx8mm-cm4)", []string{"offline"}, true},
		"without a log":      {[]string{"--no-kmsg"}, "imx8m-mini (imx8mm-cm4)", []string{"offline"}, false},
		"several, detached":  {[]string{"-b", "imx8mm-evk", "-n", "2", "--detached"}, "imx8m-mini (imx8mm-cm4-0, imx8mm-cm4-1)", []string{"detached", "detached"}, true},
		"cores that run":     {[]string{"-b", "qemu-virt", "--run", "-n", "2"}, "qemu-virt (stm32mp1-m4-0, stm32mp1-m4-1)", []string{"offline", "offline"}, true},
		"two kinds of cores": {[]string{"-b", "am642-evm"}, "am642-evm (am64-r5f, am64-m4fss)", []string{"offline", "offline"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			out, ready := io.Pipe()
			cmd := root()
			cmd.SetArgs(append(append([]string{"sysfs"}, c.args...), dir))
			cmd.SetOut(ready)
			end := make(chan error, 1)
			go func() { end <- cmd.ExecuteContext(ctx) }()

			b := make([]byte, 256)
			n, err := out.Read(b)
			if want := c.says + " at " + dir + "\n"; string(b[:n]) != want || err != nil {
				t.Errorf("says %q, %v; want %q", b[:n], err, want)
			}
			for i, want := range c.states {
				state, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("sys/class/remoteproc/remoteproc%d/state", i)))
				if string(state) != want+"\n" || err != nil {
					t.Errorf("state %d is %q, %v", i, state, err)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "dev/kmsg")); (err == nil) != c.log {
				t.Errorf("kmsg: %v", err)
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
		})
	}
}

// TestSysfsRunRefused wants cores to run whose memory is elsewhere.
func TestSysfsRunRefused(t *testing.T) {
	cmd := root()
	cmd.SetArgs([]string{"sysfs", "-b", "imx8m-mini", "--run", t.TempDir()})
	cmd.SetOut(io.Discard)
	err := cmd.ExecuteContext(t.Context())
	if exitCode(err) != exitBoard || !strings.Contains(err.Error(), "its firmware cannot be run") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, exit code %d", err, exitCode(err))
	}
}
