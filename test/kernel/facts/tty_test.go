//go:build kernel

package facts

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const ttyClass = "sys/class/tty/"

// terminal waits for the tty and opens it.
func terminal(t *testing.T, w *world) *os.File {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		f, err := os.OpenFile(w.path("dev/ttyRPMSG0"), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err == nil {
			t.Cleanup(func() { f.Close() })
			return f
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// ttyDevice is how one finds out whose the tty is. It leaves none open: a tty keeps its
// number that long, and the next boot's is another.
func ttyDevice(t *testing.T, w *world) {
	t.Helper()
	terminal(t, w).Close()
	link, err := filepath.EvalSymlinks(w.path(ttyClass + "ttyRPMSG0"))
	if err != nil {
		t.Fatal(err)
	}
	processor, err := filepath.EvalSymlinks(w.path(class))
	if err != nil {
		t.Fatal(err)
	}
	below, ok := strings.CutPrefix(link, processor+"/")
	if !ok {
		t.Fatalf("the tty %s is not below its processor %s", link, processor)
	}
	parts := strings.Split(below, "/")
	if len(parts) != 5 || parts[3] != "tty" || parts[4] != "ttyRPMSG0" || parts[2] != parts[1]+".rpmsg-tty.-1.1024" {
		t.Errorf("the tty is at %s", below)
	}
	const device = ttyClass + "ttyRPMSG0/device/"
	steps(t, w, stat(ttyClass+"ttyRPMSG0", os.ModeSymlink|0o777, -1), stat(ttyClass+"ttyRPMSG0/dev", 0o444, 4096),
		reads(device+"name", "rpmsg-tty\n"), reads(device+"src", "0x400\n"), reads(device+"dst", "0x400\n"), reads(device+"modalias", "rpmsg:rpmsg-tty\n"),
		holds(ttyClass+"ttyRPMSG0/uevent", "MAJOR=", "MINOR=", "DEVNAME=ttyRPMSG0\n"))
	info, err := os.Stat(w.path("dev/ttyRPMSG0"))
	if err != nil || info.Mode().Type() != os.ModeDevice|os.ModeCharDevice {
		t.Errorf("/dev/ttyRPMSG0: %v, %v", info, err)
	}
}

// onlyAttributes wants nothing below a processor whose core is offline.
func onlyAttributes(t *testing.T, w *world) {
	t.Helper()
	entries, err := os.ReadDir(w.path(class))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "power" {
			t.Errorf("%s is there", e.Name())
		}
	}
}

// holds wants a file to have these parts.
func holds(name string, parts ...string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		content, err := w.read(name)
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(parts, func(p string) bool { return !strings.Contains(content, p) }); i >= 0 {
			t.Fatalf("%s has no %q:\n%s", name, parts[i], content)
		}
	}
}

func ttySettings(t *testing.T, w *world) {
	t.Helper()
	raw, err := terminal(t, w).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var s *unix.Termios
	if err2 := raw.Control(func(fd uintptr) { s, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if s.Lflag&unix.ECHO != 0 || s.Lflag&unix.ICANON != 0 || s.Lflag&unix.ISIG == 0 || s.Oflag&unix.OPOST != 0 || s.Iflag&unix.ICRNL == 0 {
		t.Errorf("settings %+v", s)
	}
}

// pingPong talks to firmware that echoes.
func pingPong(t *testing.T, w *world) {
	t.Helper()
	f := terminal(t, w)
	defer f.Close()
	for _, line := range []string{"ping\n", "and again\n"} {
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		if err := f.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		n, err := f.Read(b)
		if err != nil || string(b[:n]) != line {
			t.Fatalf("%q came back as %q, %v", line, b[:n], err)
		}
	}
}

// hangUp has steps end what is behind an open tty.
func hangUp(during ...step) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		f := terminal(t, w)
		steps(t, w, during...)
		if err := f.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := f.Read(make([]byte, 64)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("a tty that was hung up reads %d bytes, %v", n, err)
		}
		if _, err := f.Write([]byte("x")); errno(err) != syscall.EIO {
			t.Errorf("a write to a tty that was hung up: %v", err)
		}
	}
}

// heldTTY starts the core anew while somebody has the tty of the boot before open.
func heldTTY(t *testing.T, w *world) {
	t.Helper()
	held := terminal(t, w)
	steps(t, w, write("state", "stop"), absent("dev/ttyRPMSG0"), write("state", "start"))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if _, err := w.read(ttyClass + "ttyRPMSG1/device/name"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no ttyRPMSG1")
		}
	}
	absent("dev/ttyRPMSG0")(t, w)
	held.Close()
	steps(t, w, write("state", "stop"), write("state", "start"), ttyDevice)
}
