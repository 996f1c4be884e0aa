//go:build kubernetes

package kubernetes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What kubelet has there wherever its other files are: device plugins, and links to logs.
const (
	kubeletFolder = "/var/lib/kubelet"
	logsFolder    = "/var/log/containers"
)

// apart is set where the tests have mounts of their own.
const apart = "HYBRID_TEST_APART"

// TestMain runs the tests with mounts of their own, where these folders are empty: the
// machine may have a kubelet, and what is mounted goes with us.
func TestMain(m *testing.M) {
	if os.Getenv(apart) == "" {
		os.Exit(again())
	}
	for _, dir := range []string{kubeletFolder, logsFolder} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			fmt.Fprintf(os.Stderr, "mount %s: %v (the tests need root)\n", dir, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// again runs this program anew, with mounts of its own.
func again() int {
	for _, dir := range []string{kubeletFolder, logsFolder} {
		if err := os.Mkdir(dir, 0o755); err == nil {
			defer os.Remove(dir)
		}
	}
	runtime.LockOSThread() // whose death would end the child
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), apart+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1) // a signal is -1
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// forgetKubelet removes what a kubelet that has ended wrote down for its next start, and
// links that it would have removed within a minute.
func forgetKubelet(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{kubeletFolder + "/*", logsFolder + "/*"} {
		names, err := filepath.Glob(pattern)
		for _, name := range names {
			err = errors.Join(err, os.RemoveAll(name))
		}
		if err != nil {
			t.Error(err)
		}
	}
}
