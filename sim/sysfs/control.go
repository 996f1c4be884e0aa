package sysfs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// control is the file by which a pretend core is told what to do. It belongs to no
// kernel; one write is one command, and one newline at its end does not count,
// except in the text of trace and tty.
func (c *Core) control() *file {
	return &file{
		name: "control", mode: 0o644, size: attributeSize,
		show:  constant(controlHelp),
		store: func(_ context.Context, command string) error { return c.obey(command) },
	}
}

const controlHelp = `trace TEXT           the firmware prints TEXT: it is appended to its first trace buffer
trace-reset          the firmware empties its first trace buffer
tty TEXT             the firmware writes TEXT to its rpmsg tty
tty-echo on|off      the firmware sends back what it receives there (on)
tick DURATION        the firmware prints "tick N" so often, until it is stopped (0 never)
hang                 the firmware does nothing more until it is started anew
crash [TYPE]         the core crashes: 0 mmufault, 1 watchdog (default), 2 fatal error
boot-delay DURATION  starts take so long (as 1.5s, 200ms; 0 at once)
boot-error ERRNO     starts fail in the driver (as EIO or 5; none)
boot-crash TYPE      the core crashes while it is started, each time (none)
stop-delay DURATION  stops take so long
stop-error ERRNO     stops fail in the driver
release              the start or stop that is under way takes no longer
`

// obey does what a command says.
func (c *Core) obey(command string) error {
	verb, argument, _ := strings.Cut(command, " ")
	switch verb {
	case "trace":
		return c.Trace(argument)
	case "tty":
		return c.TTY(argument)
	}
	verb, argument = strings.TrimSuffix(verb, "\n"), strings.TrimSpace(argument)
	switch verb {
	case "trace-reset":
		return c.ResetTrace()
	case "tty-echo":
		if argument != "on" && argument != "off" {
			return errorf(unix.EINVAL, "tty-echo: %q is neither on nor off", argument)
		}
		c.SetEcho(argument == "on")
		return nil
	case "crash":
		t := Watchdog
		if argument != "" {
			var err error
			if t, err = parseCrash(argument); err != nil {
				return err
			}
		}
		c.Crash(t)
		return nil
	case "boot-crash":
		if argument == "none" {
			c.SetBootCrash(nil)
			return nil
		}
		t, err := parseCrash(argument)
		if err == nil {
			c.SetBootCrash(&t)
		}
		return err
	case "hang":
		c.Hang()
		return nil
	case "release":
		c.Hurry()
		return nil
	case "boot-delay", "stop-delay", "tick":
		d, err := time.ParseDuration(argument)
		if err != nil || d < 0 {
			return errorf(unix.EINVAL, "%s: %q is not a duration", verb, argument)
		}
		switch verb {
		case "boot-delay":
			c.SetBootDelay(d)
		case "stop-delay":
			c.SetStopDelay(d)
		case "tick":
			return c.Tick(d)
		}
		return nil
	case "boot-error", "stop-error":
		errno, err := parseErrno(argument)
		if err != nil {
			return err
		}
		if verb == "boot-error" {
			c.SetBootError(errno)
		} else {
			c.SetStopError(errno)
		}
		return nil
	}
	return errorf(unix.EINVAL, "%q is not a command", verb)
}

func parseCrash(s string) (CrashType, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, errorf(unix.EINVAL, "crash: %v", err)
	}
	return CrashType(n), nil
}

// maxErrno is the largest that a system call may return: MAX_ERRNO of the kernel.
const maxErrno = 4095

// parseErrno reads an errno by name (EIO), by number, or none.
func parseErrno(s string) (syscall.Errno, error) {
	if s == "none" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(s, 10, 12); err == nil {
		return syscall.Errno(n), nil
	}
	for n := syscall.Errno(1); n <= maxErrno; n++ {
		if unix.ErrnoName(n) == s && s != "" {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%q is not an errno: %w", s, unix.EINVAL)
}
