package buildkit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"
)

// ErrNeedsRoot reports that the embedded BuildKit cannot run as this user.
var ErrNeedsRoot = errors.New("the embedded BuildKit mounts file systems and starts runc, which takes root or rootlesskit: " +
	"install it (apt-get install rootlesskit uidmap), run with sudo, or set BUILDKIT_HOST to the address of a running BuildKit")

// What the child says on standard error, a line each; another line is why it ends.
const (
	childWaits = "hybrid: waiting for the state folder"
	childReady = "hybrid: ready"
)

// rootlessArgs are the command line of this program's child in rootlesskit, which must
// call ServeStdin with the state folder that follows.
var rootlessArgs = []string{"builder", "stdin", "--state"}

// Rootless is the command line that runs this program with args as root of a user
// namespace in which nothing but this user's subordinate IDs is mapped.
func Rootless(args ...string) ([]string, error) {
	kit, err := exec.LookPath("rootlesskit")
	if err != nil {
		return nil, ErrNeedsRoot
	}
	if _, err := exec.LookPath("newuidmap"); err != nil {
		return nil, ErrNeedsRoot
	}
	if _, err := findRunc(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("rootlesskit: %w", err)
	}
	// host: compile steps reach the network as the user's own commands do
	return append([]string{kit, "--net=host", self}, args...), nil
}

// keepRuncApart gives runc a folder of its own in a user namespace: by itself it takes
// /run/runc, which belongs to the real root. rootlesskit removes its folder at the end.
func keepRuncApart() error {
	dir := os.Getenv("ROOTLESSKIT_STATE_DIR")
	if dir == "" || !userns.RunningInUserNS() {
		return nil
	}
	// runc ignores XDG_RUNTIME_DIR of a user whose name is root
	return errors.Join(os.Unsetenv("USER"), os.Setenv("XDG_RUNTIME_DIR", dir))
}

// openRootless starts a BuildKit in a child, as root of a user namespace. Its
// connection is the child's standard input, so that neither outlives the other.
func openRootless(ctx context.Context, o Options) (*BuildKit, error) {
	args, err := Rootless(append(rootlessArgs, o.stateDir())...)
	if err != nil {
		return nil, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("rootlesskit: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "child"), os.NewFile(uintptr(fds[1]), "stdin")
	conn, err := net.FileConn(ours) // a copy
	_ = ours.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("rootlesskit: %w", err), theirs.Close())
	}
	child, err := startChild(args, theirs)
	_ = theirs.Close()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := child.await(ctx, func() {
		if o.Waiting != nil {
			o.Waiting(o.stateDir())
		}
	}); err != nil {
		_ = conn.Close()
		child.end()
		return nil, fmt.Errorf("rootless BuildKit in %s: %w", o.stateDir(), err)
	}
	dial := sync.OnceValues(func() (net.Conn, error) { return conn, nil })
	c, err := client.New(ctx, "", client.WithContextDialer(func(context.Context, string) (net.Conn, error) { return dial() }))
	if err != nil {
		_ = conn.Close()
		child.end()
		return nil, fmt.Errorf("rootless BuildKit: %w", err)
	}
	return &BuildKit{
		Client: c, Kind: Embedded, Version: moduleVersion() + " in rootlesskit", Address: o.stateDir(),
		stop: func() error { _ = conn.Close(); child.end(); return nil },
	}, nil
}

// child is this program in rootlesskit.
type child struct {
	cmd   *exec.Cmd
	lines chan string // of standard error
}

func startChild(args []string, stdin *os.File) (*child, error) {
	c := &child{cmd: exec.Command(args[0], args[1:]...), lines: make(chan string)}
	c.cmd.Stdin = stdin
	// a signal of the terminal is for the parent, which ends the child
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("rootlesskit: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("rootlesskit: %w", err)
	}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c, nil
}

// await waits until the child is ready, and says why if it will not be.
func (c *child) await(ctx context.Context, waits func()) error {
	why := "rootlesskit ended without a word"
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case line, ok := <-c.lines:
			switch {
			case !ok:
				return errors.New(strings.TrimPrefix(why, "error: "))
			case line == childReady:
				return nil
			case line == childWaits:
				waits()
			case strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "[rootlesskit:parent] error: child exited"):
				why = line
			}
		}
	}
}

// end waits for the child, which ends when its connection does, and kills it if it
// does not.
func (c *child) end() {
	ended := make(chan struct{})
	go func() {
		for range c.lines { // nobody wants to know any more
		}
		_ = c.cmd.Wait() // killed or not: only its end matters
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(2 * stopGrace):
		_ = c.cmd.Process.Kill() // rootlesskit takes its child along
		<-ended
	}
}

// ServeStdin serves an embedded BuildKit to whoever holds the other end of stdin, a
// socket, until they close it, and tells on stderr when it is ready.
func ServeStdin(ctx context.Context, stateDir string, stdin *os.File, stderr io.Writer) error {
	conn, err := net.FileConn(stdin)
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	defer conn.Close()
	runc, err := findRunc()
	if err != nil {
		return err
	}
	lock, err := lockState(ctx, stateDir, func(string) { fmt.Fprintln(stderr, childWaits) }, func() bool { return hungUp(conn) })
	if err != nil || lock == nil {
		return err
	}
	s, err := startServer(stateDir, runc, lock)
	if err != nil {
		return err
	}
	l := newSingle(conn)
	s.serve(l)
	fmt.Fprintln(stderr, childReady)
	select {
	case <-l.done:
	case <-ctx.Done():
	}
	s.cancel()
	return s.Close()
}

// hungUp reports whether the other end of a connection is closed.
func hungUp(conn net.Conn) bool {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(poll, 0)
		gone = err == nil && n > 0 && poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0
	})
	return gone || err != nil
}

// single is a listener for one connection.
type single struct {
	conns chan net.Conn
	conn  net.Conn
	once  sync.Once
	done  chan struct{} // closed with the connection or the listener
}

func newSingle(conn net.Conn) *single {
	s := &single{conns: make(chan net.Conn, 1), conn: conn, done: make(chan struct{})}
	s.conns <- closing{conn, s.Close}
	return s
}

func (s *single) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *single) Close() error   { s.once.Do(func() { close(s.done) }); return nil }
func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }

// closing tells when a connection is closed.
type closing struct {
	net.Conn
	closed func() error
}

func (c closing) Close() error { return errors.Join(c.Conn.Close(), c.closed()) }
