package runtime

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// notify tells a service manager that a container runs, and by which process:
// sd_notify(3).
func notify(socket string, pid int) error {
	fail := func(err error) error { return fmt.Errorf("tell NOTIFY_SOCKET %s: %w", socket, err) }
	if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") { // an abstract name
		return fail(unix.EAFNOSUPPORT)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	message := fmt.Appendf(nil, "READY=1\nMAINPID=%d", pid)
	if err := unix.Sendto(fd, message, unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fail(err)
	}
	return nil
}
