//go:build kernel

package kernel

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminalBundle is a bundle that wants a terminal.
func (d *desk) terminalBundle() string {
	d.Helper()
	dir := d.bundle("")
	name := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, []byte(strings.Replace(string(b), `"cwd"`, `"terminal": true, "cwd"`, 1)), 0o644)
	}
	if err != nil {
		d.Fatal(err)
	}
	return dir
}

// listen makes a console socket.
func (d *desk) listen() (name string, fd int) {
	d.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { unix.Close(fd) })
	name = filepath.Join(d.TempDir(), "console.sock")
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		d.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		d.Fatal(err)
	}
	return name, fd
}

// receive takes the terminal that was sent to a console socket.
func (d *desk) receive(fd int) *os.File {
	d.Helper()
	conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	if err != nil {
		d.Fatal(err)
	}
	defer unix.Close(conn)
	name, rights := make([]byte, 100), make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := unix.Recvmsg(conn, name, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || !strings.HasPrefix(string(name[:n]), "/dev/pts/") {
		d.Fatalf("%q, %v", name[:n], err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil || len(messages) != 1 {
		d.Fatalf("%v, %v", messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		d.Fatalf("%v, %v", fds, err)
	}
	return os.NewFile(uintptr(fds[0]), "terminal")
}

// The firmware's console is a terminal: what it writes comes out there, an interrupt
// typed there ends it.
func TestTerminal(t *testing.T) {
	d := newDesk(t)
	socket, fd := d.listen()
	d.must("create", "--bundle", d.terminalBundle(), "--console-socket", socket, "web")
	pid := d.state("web").PID
	terminal := d.receive(fd)
	defer terminal.Close()
	d.must("start", "web")
	lines := bufio.NewReader(terminal)
	_ = terminal.SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := lines.ReadString('\n'); line != greeting+"\n" {
		t.Errorf("the terminal reads %q, %v", line, err)
	}
	if _, err := terminal.Write([]byte{3}); err != nil { // ^C
		t.Error(err)
	}
	if code := d.end(pid); code != 0 {
		t.Errorf("exit code %d", code)
	}
	d.must("delete", "web")
}

func TestTerminalRefused(t *testing.T) {
	d := newDesk(t)
	socket, _ := d.listen()
	d.refused("--console-socket is given, but process.terminal of config.json is not true", "create", "--bundle", d.bundle(""), "--console-socket", socket, "web")
	d.refused("process.terminal of config.json is true: give --console-socket, or use run", "create", "--bundle", d.terminalBundle(), "web")
	d.refused("none.sock: connect: no such file or directory", "create", "--bundle", d.terminalBundle(), "--console-socket", filepath.Join(d.TempDir(), "none.sock"), "web")
	if recovery := d.attribute(0, "recovery"); recovery != "enabled" {
		t.Errorf("recovery is %s", recovery)
	}
}
