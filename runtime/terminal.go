package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// errNoTerminal and errNoConsole report a console socket and a configuration that do
// not fit together, as other runtimes report it.
var (
	errNoTerminal = errors.New("--console-socket is given, but process.terminal of config.json is not true")
	errNoConsole  = errors.New("process.terminal of config.json is true: give --console-socket, or use run")
)

// terminal is a pseudoterminal: the container has one end as its standard streams,
// whoever listens at the console socket gets the other.
type terminal struct {
	master, slave *os.File
}

// consoleOf makes the terminal that a bundle wants; nil if it wants none.
func consoleOf(o CreateOptions, spec *specs.Spec) (*terminal, error) {
	wanted := spec != nil && spec.Process != nil && spec.Process.Terminal
	switch {
	case o.ConsoleSocket != "" && !wanted:
		return nil, errNoTerminal
	case o.ConsoleSocket != "":
		return newTerminal()
	case wanted && !o.Stdio:
		return nil, errNoConsole
	}
	return nil, nil // run has a terminal already, or none
}

// newTerminal makes one.
func newTerminal() (*terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("a terminal for the container: %w", err)
	}
	t := &terminal{master: master}
	if err := t.openSlave(); err != nil {
		t.close()
		return nil, fmt.Errorf("a terminal for the container: %w", err)
	}
	return t, nil
}

func (t *terminal) openSlave() error {
	fd := int(t.master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return os.NewSyscallError("TIOCGPTN", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return os.NewSyscallError("TIOCSPTLCK", err)
	}
	if t.slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return err
	}
	// a newline stays one, as for the consoles of other runtimes
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return os.NewSyscallError("TCGETS", err)
	}
	settings.Oflag &^= unix.ONLCR
	return os.NewSyscallError("TCSETS", unix.IoctlSetTermios(fd, unix.TCSETS, settings))
}

// send hands the other end to who listens at the socket: one descriptor, with the
// name of the terminal, in one message, as recvtty of runc wants it.
func (t *terminal) send(socket string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("console socket %s: %w", socket, os.NewSyscallError("connect", err))
	}
	rights := unix.UnixRights(int(t.master.Fd()))
	if err := unix.Sendmsg(fd, []byte(t.slave.Name()), rights, nil, 0); err != nil {
		return fmt.Errorf("console socket %s: %w", socket, os.NewSyscallError("sendmsg", err))
	}
	return nil
}

func (t *terminal) close() {
	t.master.Close()
	if t.slave != nil {
		t.slave.Close()
	}
}
