// Package kmsg is a simulated /dev/kmsg: a file whose records every reader gets for
// itself, one a read, and which poll(2) and epoll(7) can wait for.
//
// It is a FUSE file system that is one file, of its own and not a part of sysfs',
// because the library of that one cannot wake who polls. What is imitated is
// Documentation/ABI/testing/dev-kmsg and devkmsg_read of kernel/printk/printk.c:
// EAGAIN with O_NONBLOCK, EPIPE once when records were overwritten, EINVAL for a
// buffer that is too small. Reading only the position 0 and SEEK_END mean something.
//
// Do not poll the file in the process that serves it: Go's netpoller would wait for
// an answer in a place where nobody else can run to give it.
package kmsg

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The levels of printk.
const (
	Error   = 3
	Warning = 4
	Info    = 6
)

// user is the facility of records that processes write, shifted as in a priority.
const user = 1 << 3

// bytes is how much the log holds: CONFIG_LOG_BUF_SHIFT of many kernels.
const bytes = 128 << 10

// Log is a mounted /dev/kmsg. Its methods may be called from any goroutine.
type Log struct {
	path string
	c    *connection
}

// Mount serves the file at path, which is made. It needs root and /dev/fuse.
func Mount(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return nil, err
	}
	f.Close()
	c, err := connect(path, bytes)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &Log{path, c}, nil
}

// Print adds a record. A device is what printk's dev_info and the like are given: its
// subsystem and name.
func (l *Log) Print(level int, subsystem, device, text string) {
	l.c.print(level, text, fmt.Sprintf(" SUBSYSTEM=%s\n DEVICE=+%s:%s\n", subsystem, subsystem, device))
}

// Unmount ends the log, and removes its file. Those who have it open get errors.
func (l *Log) Unmount() error {
	// MNT_FORCE cuts the connection, so that those who wait for a record do not keep it
	err := unix.Unmount(l.path, unix.MNT_DETACH|unix.MNT_FORCE)
	if err != nil {
		return fmt.Errorf("unmount %s: %w", l.path, err)
	}
	<-l.c.ended
	return os.Remove(l.path)
}
