//go:build kernel

package kmsg

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mount serves a log that holds limit bytes.
func mount(t *testing.T, limit int) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kmsg")
	l, err := Mount(path)
	if err != nil {
		t.Fatal(err)
	}
	l.c.ring.limit = limit
	t.Cleanup(func() {
		if err := l.Unmount(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Unmount: %v", err)
		}
	})
	return l, path
}

// tail is the log, opened past Go's netpoller, in a process that serves it.
type tail struct {
	t  *testing.T
	fd int
}

func openLog(t *testing.T, path string, flags int) tail {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return tail{t, fd}
}

// want reads once.
func (r tail) want(text string, errno error) {
	r.t.Helper()
	b := make([]byte, 8192)
	n, err := unix.Read(r.fd, b)
	if !errors.Is(err, errno) {
		r.t.Fatalf("read: %v, want %v", err, errno)
	}
	if err == nil && !strings.Contains(string(b[:n]), ";"+text+"\n") {
		r.t.Fatalf("read %q, want %q", b[:n], text)
	}
}

func (r tail) end() tail {
	r.t.Helper()
	if _, err := unix.Seek(r.fd, 0, 2); err != nil {
		r.t.Fatal(err)
	}
	return r
}

func say(l *Log, text string) { l.Print(Info, "remoteproc", "remoteproc0", text) }

func TestRecord(t *testing.T) {
	l, path := mount(t, 1<<17)
	l.Print(Error, "remoteproc", "remoteproc0", "a\\b\nc")
	r := openLog(t, path, unix.O_NONBLOCK)
	b := make([]byte, 8192)
	n, err := unix.Read(r.fd, b)
	if want := regexp.MustCompile(`^3,0,\d+,-;a\\x5cb\\x0ac\n SUBSYSTEM=remoteproc\n DEVICE=\+remoteproc:remoteproc0\n$`); err != nil || !want.Match(b[:n]) {
		t.Fatalf("%q, %v", b[:n], err)
	}
}

// TestReaders has every reader at its own place.
func TestReaders(t *testing.T) {
	l, path := mount(t, 1<<17)
	say(l, "one")
	first, second := openLog(t, path, unix.O_NONBLOCK), openLog(t, path, unix.O_NONBLOCK).end()
	second.want("", unix.EAGAIN)
	say(l, "two")
	first.want("one", nil)
	second.want("two", nil)
	second.want("", unix.EAGAIN)
	first.want("two", nil)
	first.want("", unix.EAGAIN)
	if _, err := unix.Seek(first.fd, 0, 0); err != nil {
		t.Fatal(err)
	}
	first.want("one", nil)
	if _, err := unix.Read(first.fd, make([]byte, 8)); err != unix.EINVAL {
		t.Errorf("a small buffer: %v", err)
	}
	first.want("", unix.EAGAIN)
}

// TestOverwritten loses what is old, tells so once, and goes on.
func TestOverwritten(t *testing.T) {
	l, path := mount(t, 400)
	say(l, "old")
	r := openLog(t, path, unix.O_NONBLOCK)
	for _, text := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		say(l, text)
	}
	if p := r.poll(0); p&unix.POLLERR == 0 {
		t.Errorf("poll: %#x", p)
	}
	r.want("", unix.EPIPE)
	r.want("c", nil) // five of them fit
	r.want("d", nil)
	r.end().want("", unix.EAGAIN)
	openLog(t, path, unix.O_NONBLOCK).want("c", nil)
}

func (r tail) poll(wait time.Duration) int16 {
	r.t.Helper()
	fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(wait); ; {
		_, err := unix.Poll(fds, int(max(0, time.Until(deadline).Milliseconds())))
		if err == nil {
			return fds[0].Revents
		}
		if err != unix.EINTR {
			r.t.Fatal(err)
		}
	}
}

// TestPoll wakes a poll that waits, and an edge-triggered epoll as Go's own.
func TestPoll(t *testing.T) {
	l, path := mount(t, 1<<17)
	say(l, "before")
	r := openLog(t, path, unix.O_NONBLOCK).end()
	if p := r.poll(20 * time.Millisecond); p != 0 {
		t.Fatalf("poll of nothing: %#x", p)
	}
	time.AfterFunc(20*time.Millisecond, func() { say(l, "woke") })
	start := time.Now()
	if p := r.poll(5 * time.Second); p != unix.POLLIN || time.Since(start) > time.Second {
		t.Fatalf("poll: %#x after %v", p, time.Since(start))
	}
	r.want("woke", nil)

	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ep)
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, r.fd, &event); err != nil {
		t.Fatal(err)
	}
	wait := func(timeout int) int {
		for {
			n, err := unix.EpollWait(ep, make([]unix.EpollEvent, 1), timeout)
			if err != unix.EINTR {
				return n
			}
		}
	}
	for _, text := range []string{"x", "y", "z"} {
		if n := wait(20); n != 0 {
			t.Fatal("epoll woke for nothing")
		}
		r.want("", unix.EAGAIN)
		time.AfterFunc(10*time.Millisecond, func() { say(l, text) })
		if n := wait(5000); n != 1 {
			t.Fatal("epoll did not wake")
		}
		r.want(text, nil)
	}
}

// TestBlocking reads without O_NONBLOCK, in a process that a signal then ends.
func TestBlocking(t *testing.T) {
	l, path := mount(t, 1<<17)
	say(l, "one")
	cmd := exec.CommandContext(t.Context(), "cat", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8192)
	for _, text := range []string{"one", "two"} {
		n, err := out.Read(b)
		if err != nil || !strings.Contains(string(b[:n]), text) {
			t.Fatalf("%q, %v; want %q", b[:n], err, text)
		}
		say(l, "two")
	}
	_ = cmd.Process.Signal(unix.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("a reader that waits cannot be ended")
	}
}

func TestWrite(t *testing.T) {
	_, path := mount(t, 1<<17)
	if err := os.WriteFile(path, []byte("from user space\n"), 0); err != nil {
		t.Fatal(err)
	}
	openLog(t, path, unix.O_NONBLOCK).want("from user space", nil)
}

// TestUnmountWaiting ends the log under a reader that waits.
func TestUnmountWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	l, err := Mount(path)
	if err != nil {
		t.Fatal(err)
	}
	r := openLog(t, path, 0)
	ended := make(chan error, 1)
	go func() {
		_, err := unix.Read(r.fd, make([]byte, 8192))
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := l.Unmount(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a read that waited succeeded")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a read waits for ever")
	}
	say(l, "nobody hears")
}
