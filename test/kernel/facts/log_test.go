//go:build kernel

package facts

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// log is /dev/kmsg, opened past Go's netpoller: on the simulation, which this process
// serves, nobody could answer that.
type log struct {
	t  *testing.T
	fd int
}

func openLog(t *testing.T, w *world) log {
	t.Helper()
	fd, err := unix.Open(w.path("dev/kmsg"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		t.Fatal(err)
	}
	return log{t, fd}
}

func (l log) read(size int) (string, error) {
	b := make([]byte, size)
	for {
		n, err := unix.Read(l.fd, b)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EPIPE):
		case err != nil:
			return "", err
		default:
			return string(b[:n]), nil
		}
	}
}

// poll waits for a record.
func (l log) poll(wait time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(wait); ; {
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline).Milliseconds())))
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// properties are those of every record about the processor.
const properties = " SUBSYSTEM=remoteproc\n DEVICE=+remoteproc:remoteproc0\n"

// next is the next record about the processor as "LEVEL text", empty if none came.
// What Debian's kernel adds of its own about firmware files is left out, and what the
// driver says of firmware that does not talk to it.
func (l log) next(wait time.Duration) string {
	l.t.Helper()
	for deadline := time.Now().Add(wait); ; {
		record, err := l.read(8192)
		if errors.Is(err, unix.EAGAIN) {
			if !l.poll(time.Until(deadline)) {
				return ""
			}
			continue
		}
		if err != nil {
			l.t.Fatal(err)
		}
		head, body, _ := strings.Cut(record, ";")
		text, about, _ := strings.Cut(body, "\n")
		text, ok := strings.CutPrefix(text, "remoteproc remoteproc0: ")
		if !ok || strings.HasPrefix(text, "firmware: ") || strings.HasPrefix(text, "warning: remote FW ") {
			continue
		}
		if about != properties {
			l.t.Errorf("the record %q has the properties %q", text, about)
		}
		if strings.HasPrefix(text, "handling crash #") { // counted since the driver came up
			text = "handling crash #N" + strings.TrimLeft(text[len("handling crash #"):], "0123456789")
		}
		level, _, _ := strings.Cut(head, ",")
		return level + " " + text
	}
}

// logs wants the kernel to log exactly these lines about the processor in steps.
func logs(want []string, during ...step) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		l := openLog(t, w)
		steps(t, w, during...)
		var got []string
		for len(got) < len(want) {
			line := l.next(5 * time.Second)
			if line == "" {
				break
			}
			got = append(got, line)
		}
		if line := l.next(30 * time.Millisecond); line != "" {
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("the kernel logs\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// wakes wants poll on the log to wake for a crash, before the state has changed or
// soon after.
func wakes(t *testing.T, w *world) {
	t.Helper()
	l := openLog(t, w)
	steps(t, w, write("recovery", "disabled"))
	if l.poll(20 * time.Millisecond) {
		t.Fatal("poll woke for nothing")
	}
	write(debug+"crash", "1")(t, w)
	if !l.poll(5 * time.Second) {
		t.Fatal("poll did not wake")
	}
	if line := l.next(0); line != "3 crash detected in m4: type watchdog" {
		t.Fatalf("poll woke for %q", line)
	}
	becomes("state", "crashed\n")(t, w)
}

// readers wants every reader of the log to have its own place in it.
func readers(t *testing.T, w *world) {
	t.Helper()
	one, two, small := openLog(t, w), openLog(t, w), openLog(t, w)
	if _, err := one.read(8192); !errors.Is(err, unix.EAGAIN) {
		t.Fatalf("at the log's end: %v", err)
	}
	refuse("state", "bogus", syscall.EINVAL)(t, w)
	if _, err := small.read(8); !errors.Is(err, unix.EINVAL) {
		t.Errorf("with a small buffer: %v", err)
	}
	if _, err := small.read(8192); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a record that did not fit is still there: %v", err)
	}
	for _, l := range []log{one, two} {
		if line := l.next(time.Second); line != "3 Unrecognised option: bogus" {
			t.Errorf("a reader reads %q", line)
		}
		if _, err := l.read(8192); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("behind the record: %v", err)
		}
	}
	if _, err := unix.Seek(one.fd, 0, unix.SEEK_SET); err != nil {
		t.Fatal(err)
	}
	if first, err := one.read(8192); err != nil || first == "" {
		t.Errorf("from the start: %q, %v", first, err)
	}
}
