package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// ServeOptions say how the embedded BuildKit is served.
type ServeOptions struct {
	StateDir string        // empty means DefaultStateDir()
	Address  string        // unix://PATH to listen on besides; empty: none
	Idle     time.Duration // to end when nobody was connected for so long; 0: never
	Waiting  func(stateDir string)
	// Ready, if not nil, is called once builds can come, with the addresses.
	Ready func(addresses []string)
}

// ErrServed reports that a state folder has a server already.
var ErrServed = errors.New("already served")

// Serve keeps an embedded BuildKit on a socket in its state folder, where Open finds
// it, until ctx ends or it is idle. Builds that run when ctx ends are cancelled.
func Serve(ctx context.Context, o ServeOptions) (err error) {
	if o.StateDir == "" {
		o.StateDir = DefaultStateDir()
	}
	runc, err := findRunc()
	if err != nil {
		return err
	}
	who := ""
	lock, err := lockState(ctx, o.StateDir, o.Waiting, func() bool {
		who = listener(socketOf(o.StateDir))
		return who != ""
	})
	if err != nil {
		return err
	}
	if who != "" {
		return fmt.Errorf("%s is %w by %s at unix://%s", o.StateDir, ErrServed, who, socketOf(o.StateDir))
	}
	idle := newIdle(o.Idle)
	s, err := startServer(o.StateDir, runc, lock, grpc.StatsHandler(idle))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	names := []string{socketOf(o.StateDir)}
	if o.Address != "" {
		names = append(names, strings.TrimPrefix(o.Address, "unix://"))
	}
	var addresses []string
	for _, name := range names {
		l, err := listen(name)
		if err != nil {
			return err
		}
		defer os.Remove(name) // before the server stops: who comes now shall not find it
		s.serve(l)
		addresses = append(addresses, "unix://"+name)
	}
	if o.Ready != nil {
		o.Ready(addresses)
	}
	select {
	case <-idle.done:
		return nil
	case <-ctx.Done():
		s.cancel()
		return context.Cause(ctx)
	}
}

// CheckServeAddress finds fault with an address that Serve cannot listen on.
func CheckServeAddress(address string) error {
	if name, ok := strings.CutPrefix(address, "unix://"); address != "" && (!ok || !filepath.IsAbs(name)) {
		return fmt.Errorf("address %q: want unix:///PATH", address)
	}
	return nil
}

// cancel cancels the builds that run, and waits for their ends as long as they may
// take.
func (s *server) cancel() {
	stopped := make(chan struct{})
	go func() { s.rpc.Stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(stopGrace):
	}
}

// listen makes a socket for this user alone. It is made beside and renamed: nobody
// finds one with other permissions, and one that a killed server left is replaced.
func listen(name string) (net.Listener, error) {
	if who := listener(name); who != "" {
		return nil, fmt.Errorf("unix://%s is taken: %s listens there", name, who)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("socket's folder: %w", err)
	}
	temporary := fmt.Sprintf("%s.%d", name, os.Getpid())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("unix://%s: a socket's name has at most 107 bytes, with %d for its making; give a shorter one", name, len(temporary)-len(name))
	}
	if err != nil {
		return nil, fmt.Errorf("unix://%s: %w", name, err)
	}
	l.SetUnlinkOnClose(false) // by its old name
	err = os.Chmod(temporary, 0o600)
	if err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unix://%s: %w", name, err), os.Remove(temporary), l.Close())
	}
	return l, nil
}

// listener says which process listens on a socket; empty if none does.
func listener(name string) string {
	conn, err := net.Dial("unix", name)
	if err != nil {
		return ""
	}
	defer conn.Close()
	who := "another process"
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return who
	}
	_ = raw.Control(func(fd uintptr) {
		// of a process in another PID namespace the kernel says 0
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && peer.Pid > 0 {
			who = fmt.Sprintf("process %d", peer.Pid)
		}
	})
	return who
}

// idle tells when nobody was connected for a while.
type idle struct {
	after time.Duration
	done  chan struct{}

	mu    sync.Mutex
	conns int
	timer *time.Timer
}

func newIdle(after time.Duration) *idle {
	i := &idle{after: after, done: make(chan struct{})}
	i.count(0)
	return i
}

// count counts connections that begin and end.
func (i *idle) count(change int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.conns += change
	if i.timer != nil {
		i.timer.Stop()
	}
	if i.conns > 0 || i.after == 0 {
		return
	}
	i.timer = time.AfterFunc(i.after, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		select {
		case <-i.done:
		default:
			if i.conns == 0 {
				close(i.done)
			}
		}
	})
}

// HandleConn implements stats.Handler.
func (i *idle) HandleConn(_ context.Context, s stats.ConnStats) {
	switch s.(type) {
	case *stats.ConnBegin:
		i.count(1)
	case *stats.ConnEnd:
		i.count(-1)
	}
}

// TagConn implements stats.Handler.
func (*idle) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC implements stats.Handler.
func (*idle) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (*idle) HandleRPC(context.Context, stats.RPCStats) {}
