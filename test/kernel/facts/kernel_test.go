//go:build kernel

package facts

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kernelList is what a simulation that is files cannot have.
var kernelList = []fact{
	{"there are no uevents for start, stop and crash", []step{
		uevents(nil, boot(good("").Bytes()), write("state", "stop"), write("state", "start"), crash, write("recovery", "recover")),
	}},
	{"there are uevents for a core dump", []step{
		write("coredump", "enabled"), boot(good("").Bytes()),
		uevents([]string{"add@/devices/virtual/devcoredump/devcd", "remove@/devices/virtual/devcoredump/devcd"}, crashDump, free),
	}},
	{"there are uevents for rpmsg devices and ttys", []step{
		uevents([]string{"/rproc-virtio", "/virtio", ".rpmsg-tty.", "/tty/ttyRPMSG0"}, realFirmware("echo.elf"), ttyDevice, write("state", "stop")),
	}},
}

// uevents wants the kernel to send events with these parts during steps, and no others;
// none wants none.
func uevents(want []string, during ...step) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
			t.Fatal(err)
		}
		steps(t, w, during...)
		time.Sleep(100 * time.Millisecond)
		missing := slices.Clone(want)
		b := make([]byte, 8192)
		for {
			n, err := unix.Read(fd, b)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				break // EAGAIN: that was all
			}
			event, _, _ := strings.Cut(string(b[:n]), "\x00")
			if !slices.ContainsFunc(want, func(part string) bool { return strings.Contains(event, part) }) {
				t.Errorf("event %q", event)
			}
			missing = slices.DeleteFunc(missing, func(part string) bool { return strings.Contains(event, part) })
		}
		if len(missing) > 0 {
			t.Errorf("no events %q", missing)
		}
	}
}
