//go:build linux

package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// openTerminal opens a pseudo terminal: our end and the command's.
func openTerminal(size wire.Size) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := ioctl(master, func(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCGPTN) })
	if err == nil {
		_, err = ioctl(master, func(fd int) (int, error) { return 0, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0) })
	}
	if err == nil {
		err = resize(master, size)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("pseudo terminal: %w", err)
	}
	return master, slave, nil
}

func resize(terminal *os.File, size wire.Size) error {
	_, err := ioctl(terminal, func(fd int) (int, error) {
		return 0, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
	})
	return err
}

// ioctl leaves the file to Go's poller, which File.Fd would not.
func ioctl(f *os.File, call func(fd int) (int, error)) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := raw.Control(func(fd uintptr) { n, err = call(int(fd)) }); e != nil {
		return 0, e
	}
	return n, err
}
