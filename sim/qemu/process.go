// Package qemu runs QEMU processes which cannot outlive the one that started them,
// and talks to their monitor.
//
// Everything a process needs of the host is handed over as open descriptors:
// sockets are socket pairs and files may be memory files, so nothing has a name in
// a file system and nothing can be left behind.
package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Binary is the emulator of both sides of the virtual board.
const Binary = "qemu-system-arm"

// MissingError reports a program that the machine does not have.
type MissingError struct {
	Program string
	Package string // of Debian
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed (apt-get install %s)", e.Program, e.Package)
}

// Look returns a *MissingError if a program is not in PATH; pkg is the Debian package
// that has it.
func Look(program, pkg string) error {
	if _, err := exec.LookPath(program); err != nil {
		return &MissingError{Program: program, Package: pkg}
	}
	return nil
}

// Process is a QEMU process with a monitor.
type Process struct {
	*Monitor
	done chan struct{}
	err  error // why it ended, once done is closed
	kill func()
}

// FD is how files[i] of Start is called on the command line: the number of a
// descriptor.
func FD(i int) int { return 4 + i } // 0 to 2 are standard, 3 is the monitor

// Path is how files[i] of Start is called where QEMU wants the path of a file.
func Path(i int) string { return fmt.Sprintf("/proc/self/fd/%d", FD(i)) }

// Start starts QEMU with args and files, and waits until its monitor answers. The
// files may be closed afterwards. The process is killed when Close is called, when
// ctx ends, and when this process dies.
func Start(ctx context.Context, args []string, files ...*os.File) (*Process, error) {
	if err := Look(Binary, Binary); err != nil {
		return nil, err
	}
	ours, theirs, err := SocketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()

	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, Binary, append(args,
		"-nodefaults", "-display", "none",
		"-chardev", "socket,id=qmp,fd=3", "-mon", "chardev=qmp,mode=control")...)
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr := &tail{limit: 4 << 10}
	cmd.Stderr = stderr

	p := &Process{done: make(chan struct{}), kill: cancel}
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread which forked dies: this one stays until the end.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = ended(cmd.Wait(), stderr)
		cancel()
		ours.Close()
		close(p.done)
	}()
	if err := <-started; err != nil {
		cancel()
		ours.Close()
		return nil, fmt.Errorf("%s: %w", Binary, err)
	}
	p.Monitor, err = newMonitor(ctx, ours)
	if err != nil {
		p.Close()
		if reason := p.Err(); stderr.String() != "" {
			err = reason
		}
		return nil, err
	}
	return p, nil
}

// Done is closed when the process has ended and was waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how the process ended, after Done.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Close kills the process and waits for it. It may be called more than once.
func (p *Process) Close() {
	p.kill()
	<-p.done
}

// ErrEnded reports a QEMU process that ended.
var ErrEnded = errors.New(Binary + " ended")

func ended(err error, stderr *tail) error {
	reason := "by itself"
	if err != nil {
		reason = err.Error()
	}
	if s := strings.TrimSpace(stderr.String()); s != "" {
		reason += ": " + strings.ReplaceAll(s, "\n", "; ")
	}
	return fmt.Errorf("%w: %s", ErrEnded, reason)
}

// SocketPair returns two ends of a stream: one for us, one for QEMU.
func SocketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	// ours goes to Go's poller: closing it then ends reads that are under way
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "qemu's socket"), nil
}

// MemoryFile returns a file of size bytes that has no name and is gone with its
// last descriptor.
func MemoryFile(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory file %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, fmt.Errorf("memory file %s of %d bytes: %w", name, size, err)
	}
	return f, nil
}

// tail keeps the last limit bytes written to it.
type tail struct {
	mu    sync.Mutex
	b     bytes.Buffer
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b.Write(p)
	if over := t.b.Len() - t.limit; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
