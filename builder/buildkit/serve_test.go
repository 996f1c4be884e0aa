package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/stats"
)

func TestIdle(t *testing.T) {
	ended := func(i *idle) bool {
		synctest.Wait()
		select {
		case <-i.done:
			return true
		default:
			return false
		}
	}
	synctest.Test(t, func(t *testing.T) {
		i := newIdle(time.Minute)
		time.Sleep(59 * time.Second)
		i.HandleConn(t.Context(), &stats.ConnBegin{})
		i.HandleConn(t.Context(), &stats.ConnBegin{})
		time.Sleep(time.Hour)
		i.HandleConn(t.Context(), &stats.ConnEnd{})
		time.Sleep(time.Hour)
		if ended(i) {
			t.Error("ended while somebody was connected")
		}
		i.HandleConn(t.Context(), &stats.ConnEnd{})
		time.Sleep(59 * time.Second)
		if ended(i) {
			t.Error("ended too early")
		}
		time.Sleep(2 * time.Second)
		if !ended(i) {
			t.Error("goes on though nobody is connected")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		i := newIdle(0)
		time.Sleep(24 * time.Hour)
		if ended(i) {
			t.Error("0 is never")
		}
	})
}

func TestListen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	name := filepath.Join(dir, "s.sock")
	l, err := listen(name)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, name: 0o600 | os.ModeSocket} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if _, err := listen(name); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d listens", os.Getpid())) {
		t.Errorf("a second one: %v, want that this process listens", err)
	}
	// as if it had been killed: the file stays, and nobody listens
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if who := listener(name); who != "" {
		t.Errorf("%s listens on a socket that is closed", who)
	}
	l, err = listen(name)
	if err != nil {
		t.Fatalf("the socket of one that was killed is not replaced: %v", err)
	}
	defer l.Close()
	if who := listener(name); who == "" {
		t.Error("nobody listens")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v, want the socket alone", entries, err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if _, err := listen(long); err == nil || !strings.Contains(err.Error(), "at most 107 bytes") {
		t.Errorf("a long name: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(filepath.Join(dir, "file", "s.sock")); err == nil {
		t.Error("a socket below a file")
	}
}

func TestCheckServeAddress(t *testing.T) {
	for address, ok := range map[string]bool{
		"": true, "unix:///run/h.sock": true, "unix://h.sock": false, "/run/h.sock": false, "tcp://127.0.0.1:1": false, "unix://": false,
	} {
		if err := CheckServeAddress(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestHungUp(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer ours.Close()
	if hungUp(conn) {
		t.Error("hung up while both are there")
	}
	if _, err := theirs.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if hungUp(conn) {
		t.Error("hung up since something was sent")
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if !hungUp(conn) {
		t.Error("not hung up")
	}
}

func TestSingle(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	s := newSingle(here)
	c, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() { _, err := s.Accept(); second <- err }()
	select {
	case err := <-second:
		t.Fatalf("a second connection, %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-second; !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v, want that the listener is closed", err)
	}
	<-s.done
}

func TestChildAwait(t *testing.T) {
	for _, c := range []struct {
		script, want string
		waits        int
	}{
		{script: "echo '" + childReady + "' >&2; exec cat"},
		{script: "echo 'time=now level=warning' >&2; echo '" + childWaits + "' >&2; echo '" + childReady + "' >&2; exec cat", waits: 1},
		{script: "echo 'error: no runc' >&2; echo '[rootlesskit:parent] error: child exited: exit status 1' >&2; exit 1", want: "no runc"},
		{script: "exit 1", want: "ended without a word"},
		{script: "exec cat", want: "no time"}, // says nothing
	} {
		stdin, ours, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		child, err := startChild([]string{"/bin/sh", "-c", c.script}, stdin)
		if err != nil {
			t.Fatal(err)
		}
		_ = stdin.Close()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("no time"))
		waits := 0
		err = child.await(ctx, func() { waits++ })
		cancel()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || waits != c.waits {
			t.Errorf("%s: error %v after %d waits, want %q after %d", c.script, err, waits, c.want, c.waits)
		}
		_ = ours.Close() // it ends with its input
		child.end()
		if child.cmd.ProcessState == nil {
			t.Errorf("%s: not ended", c.script)
		}
	}
}
