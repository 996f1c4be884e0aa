//go:build kernel

package facts

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Steps that need more than one read or write.

func creating(name string, want syscall.Errno) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if err := os.WriteFile(w.path(name), []byte("x"), 0o644); errno(err) != want {
			t.Fatalf("create %s: %v, want %v", name, err, describe(want))
		}
	}
}

func truncating(name, value string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if err := os.WriteFile(w.path(name), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// link makes a symbolic link to a path of the world. The folder must be put already.
func link(target, name string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if err := os.Symlink(target, w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// putRelease is put below a folder that is named after the kernel's release.
func putRelease(dir, name string, data []byte) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			t.Fatal(err)
		}
		put(dir+unix.ByteSliceToString(u.Release[:])+name, data)(t, w)
	}
}

// pathOf is a path of n bytes.
func pathOf(n int) string { return "/" + strings.Repeat("x", n-1) }

func open(t *testing.T, w *world, name string) *os.File {
	t.Helper()
	f, err := os.Open(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// openFile reads one descriptor again and again.
func openFile(t *testing.T, w *world) {
	t.Helper()
	f, b := open(t, w, "state"), make([]byte, 64)
	want := func(content string) {
		t.Helper()
		if n, err := f.ReadAt(b, 0); string(b[:n]) != content || err != io.EOF {
			t.Fatalf("the open state reads %q, %v; want %q", b[:n], err, content)
		}
	}
	want("offline\n")
	boot(good("").Bytes())(t, w)
	want("running\n")
	write("state", "stop")(t, w)
	want("offline\n")
}

// openTrace reads the descriptor of a trace past the end of its boot.
func openTrace(t *testing.T, w *world) {
	t.Helper()
	boot(good("hello\n").Bytes())(t, w)
	f, b := open(t, w, debug+"trace0"), make([]byte, 64)
	if n, err := f.ReadAt(b, 0); string(b[:n]) != "hello\n" || err != io.EOF {
		t.Fatalf("the open trace reads %q, %v", b[:n], err)
	}
	write("state", "stop")(t, w)
	if n, err := f.ReadAt(b, 0); n != 0 || errno(err) != syscall.EIO {
		t.Fatalf("the open trace reads %q, %v after stop", b[:n], err)
	}
	write("state", "start")(t, w)
	if n, err := f.ReadAt(b, 0); n != 0 || errno(err) != syscall.EIO {
		t.Fatalf("the open trace of the boot before reads %q, %v", b[:n], err)
	}
	reads(debug+"trace0", "hello\n")(t, w)
}

// pollState waits for a priority event on state while the core crashes.
func pollState(t *testing.T, w *world) {
	t.Helper()
	f := open(t, w, "state")
	if _, err := f.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	woke := make(chan int, 1)
	go func() {
		fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
		deadline := time.Now().Add(300 * time.Millisecond)
		for {
			n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
			if err != unix.EINTR || time.Now().After(deadline) {
				woke <- n
				return
			}
		}
	}()
	crash(t, w)
	if n := <-woke; n != 0 {
		t.Fatal("poll woke")
	}
}

// inotifyState watches state while somebody writes to it, and while the core crashes.
func inotifyState(t *testing.T, w *world) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, w.path("state"), unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	write("state", "start")(t, w)
	if n, err := unix.Read(fd, b); n <= 0 {
		t.Fatalf("no event for a write: %v", err)
	}
	crash(t, w)
	if n, err := unix.Read(fd, b); err != unix.EAGAIN {
		t.Fatalf("an event of %d bytes for a crash (%v)", n, err)
	}
}

// rebind takes the driver off the core and puts it back, which is the only way out
// for a core whose recovery failed.
func rebind(t *testing.T, w *world) {
	t.Helper()
	device, err := filepath.EvalSymlinks(w.path(class + "device"))
	if err != nil {
		t.Fatal(err)
	}
	driver := filepath.Join(device, "driver")
	if _, err := os.Stat(driver); err != nil {
		return // the simulation has no drivers; it is made anew for every fact
	}
	if driver, err = filepath.EvalSymlinks(driver); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"unbind", "bind"} {
		if err := os.WriteFile(filepath.Join(driver, action), []byte(filepath.Base(device)), 0); err != nil {
			t.Fatalf("%s the driver: %v", action, err)
		}
	}
	if b, err := os.ReadFile(w.path("state")); err != nil || !bytes.Equal(b, []byte("offline\n")) {
		t.Fatalf("after binding the driver the state is %q, %v", b, err)
	}
}
