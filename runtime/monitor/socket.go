package monitor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// StartSocket is the name, in the container's folder, of the socket that start
// connects to. It exists until the firmware runs: that is what tells a created
// container from a running one.
const StartSocket = "start.sock"

// Request and answer of the start socket. Any other answer is the reason why the
// firmware does not run.
const (
	StartRequest = "start\n"
	StartDone    = "started\n"
)

// The system calls are made here because package net is a tenth of the runtime.

// Listen makes the start socket in a container's folder.
func Listen(dir string) (*os.File, error) {
	return unixSocket(dir, "listen", func(fd int, a unix.Sockaddr) error {
		if err := unix.Bind(fd, a); err != nil {
			return err
		}
		return unix.Listen(fd, 8)
	})
}

// Dial connects to the start socket in a container's folder.
func Dial(dir string) (*os.File, error) { return unixSocket(dir, "connect", unix.Connect) }

// unixSocket names the socket through a descriptor of its folder: sun_path has room
// for 108 bytes, and folders of engines are longer.
func unixSocket(dir, op string, use func(int, unix.Sockaddr) error) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir, StartSocket))
	if err := use(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), StartSocket)}); err != nil {
		f.Close()
		return nil, os.NewSyscallError(op, err)
	}
	return f, nil
}

// acceptStart waits for the next connection that asks for a start.
func acceptStart(listener *os.File) (*os.File, error) {
	for {
		fd, _, err := unix.Accept4(int(listener.Fd()), unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("accept", err)
		}
		c := os.NewFile(uintptr(fd), "start")
		// a client that hangs keeps nobody else out
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
		request := make([]byte, len(StartRequest))
		if n, _ := c.Read(request); string(request[:n]) == StartRequest {
			return c, nil
		}
		c.Close()
	}
}
