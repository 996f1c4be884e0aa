//go:build engine || kubernetes

package daemons

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Network is a network namespace with nothing but a loopback device, for daemons whose
// devices, routes and ports are to be nobody else's.
type Network struct {
	file *os.File
}

// NewNetwork makes a network that ends with the test, and with the processes in it.
func NewNetwork(t *testing.T) *Network {
	t.Helper()
	n := &Network{}
	err := elsewhere(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("network namespace: %w", err)
		}
		if err := loopbackUp(); err != nil {
			return err
		}
		var err error
		n.file, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.file.Close() })
	return n
}

// Do calls f in the network: what f opens and starts is there. f is called by the same
// goroutine, on a thread of its own.
func (n *Network) Do(t *testing.T, f func()) {
	t.Helper()
	err := elsewhere(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("network namespace: %w", err)
		}
		f()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Dial connects to what listens in the network.
func (n *Network) Dial(network, address string) (conn net.Conn, err error) {
	err = elsewhere(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("network namespace: %w", err)
		}
		conn, err = net.Dial(network, address)
		return err
	})
	return conn, err
}

// elsewhere calls f on a thread that comes back to the network that it was in.
func elsewhere(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { // a test that ends in f comes by here too
		// a thread that cannot go back stays locked, and ends with its goroutine
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		_ = home.Close()
	}()
	return f()
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("loopback device: %w", err)
	}
	return nil
}
