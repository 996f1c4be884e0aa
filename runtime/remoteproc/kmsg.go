package remoteproc

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Log reads the kernel's log as it grows, the records of one processor only. It is
// the only way by which the kernel tells of a crash: poll(2) and inotify(7) on the
// state attribute never wake, and there is no uevent.
type Log struct {
	f      *os.File
	device string
	buf    []byte
}

// Log opens the kernel's log at its end. Where it may not be read (dmesg_restrict,
// or no /dev/kmsg) the error is the one of open(2).
func (h Host) Log(p *Processor) (*Log, error) {
	f, err := os.OpenFile(h.path("dev/kmsg"), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		f.Close()
		return nil, err
	}
	// larger than any record: a smaller buffer makes the kernel answer EINVAL
	return &Log{f: f, device: "+remoteproc:" + p.Instance, buf: make([]byte, 8192)}, nil
}

// Skip passes over the records that are there already.
func (l *Log) Skip() { _, _ = l.f.Seek(0, io.SeekEnd) }

// Next waits for the next record about the processor and returns its text. After
// Close the error is os.ErrClosed.
func (l *Log) Next() (string, error) {
	for {
		n, err := l.f.Read(l.buf)
		if errors.Is(err, unix.EPIPE) {
			continue // records were overwritten before we read them
		}
		if err != nil {
			return "", err
		}
		if text, device := parseRecord(l.buf[:n]); device == l.device {
			return text, nil
		}
	}
}

// Drain returns the records that are there already, at most max.
func (l *Log) Drain(max int) []string {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return nil
	}
	var lines []string
	_ = raw.Read(func(fd uintptr) bool {
		for len(lines) < max {
			n, err := unix.Read(int(fd), l.buf)
			if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n <= 0 { // EAGAIN: that was all
				break
			}
			if text, device := parseRecord(l.buf[:n]); device == l.device {
				lines = append(lines, text)
			}
		}
		return true
	})
	return lines
}

// Close ends a Next that waits.
func (l *Log) Close() error { return l.f.Close() }

// parseRecord takes a record of /dev/kmsg apart: Documentation/ABI/testing/dev-kmsg.
//
//	6,1234,5678901,-;remoteproc remoteproc0: crash detected in m4: type watchdog
//	 SUBSYSTEM=remoteproc
//	 DEVICE=+remoteproc:remoteproc0
func parseRecord(b []byte) (text, device string) {
	_, body, found := bytes.Cut(b, []byte(";"))
	if !found {
		return "", ""
	}
	line, properties, _ := strings.Cut(string(body), "\n")
	for property := range strings.SplitSeq(properties, "\n") {
		if d, ok := strings.CutPrefix(property, " DEVICE="); ok {
			device = d
		}
	}
	return line, device
}
