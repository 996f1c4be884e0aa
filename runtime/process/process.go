// Package process names a process so that it cannot be mistaken for another one
// that got the same number later.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Identity is a process: its number and when it was started.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot, field 22 of /proc/PID/stat
}

// ErrGone reports a process that has ended.
var ErrGone = errors.New("no such process")

// Of returns the identity of a running process; ErrGone also for one that has
// ended and was not waited for.
func Of(pid int) (Identity, error) {
	s, err := readStat(pid)
	if err != nil {
		return Identity{}, err
	}
	start, err := s.number(22)
	return Identity{pid, start}, err
}

// stat are the fields of /proc/PID/stat, from the third: proc_pid_stat(5).
type stat struct {
	pid    int
	fields [][]byte
}

// readStat reads the fields of a process that lives.
func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return stat{}, ErrGone
	}
	if err != nil {
		return stat{}, err
	}
	// the name, in parentheses, may hold anything
	s := stat{pid, bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])}
	// the first thread of a killed process is a zombie before the others are dead, and
	// until then its files are open and its locks are held
	threads, err := s.number(20)
	if err != nil {
		return stat{}, err
	}
	if state := s.fields[0][0]; (state == 'Z' || state == 'X') && threads <= 1 {
		return stat{}, ErrGone
	}
	return s, nil
}

// number is a field by its number in proc_pid_stat(5).
func (s stat) number(field int) (uint64, error) {
	if len(s.fields) < field-2 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields after the name", s.pid, len(s.fields))
	}
	n, err := strconv.ParseUint(string(s.fields[field-3]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %w", s.pid, err)
	}
	return n, nil
}

// Alive reports whether the process still runs.
func (id Identity) Alive() bool {
	now, err := Of(id.PID)
	return err == nil && now == id
}

// Handle is a process that signals are sent to without a race against the reuse of
// its number: pidfd_open(2), Linux 5.3.
type Handle struct{ fd int }

// Open returns a handle of the process, or ErrGone.
func (id Identity) Open() (*Handle, error) {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	h := &Handle{fd}
	if !id.Alive() { // looked at after opening: from here on the handle cannot change
		h.Close()
		return nil, ErrGone
	}
	return h, nil
}

// Signal sends a signal; ErrGone if the process has ended.
func (h *Handle) Signal(s unix.Signal) error {
	err := unix.PidfdSendSignal(h.fd, s, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return os.NewSyscallError("pidfd_send_signal", err)
}

// Wait waits until the process has ended, for at most timeout, and reports whether
// it has.
func (h *Handle) Wait(timeout time.Duration) bool {
	for deadline := time.Now().Add(timeout); ; {
		left := max(time.Until(deadline), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n == 1
		}
	}
}

// Close releases the handle.
func (h *Handle) Close() { unix.Close(h.fd) }
