// Package buildkit knows where a BuildKit comes from: one that runs already, at
// an address, or one that runs inside of this process.
//
// The embedded BuildKit is the same code as buildkitd with an OCI worker, reached
// over a pipe in memory instead of a socket. It keeps its state in a folder, as
// buildkitd does, so that the second build finds the first one's cache.
package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/moby/buildkit/client"
	_ "github.com/moby/buildkit/client/connhelper/dockercontainer"  // docker-container://NAME
	_ "github.com/moby/buildkit/client/connhelper/kubepod"          // kube-pod://NAME
	_ "github.com/moby/buildkit/client/connhelper/nerdctlcontainer" // nerdctl-container://NAME
	_ "github.com/moby/buildkit/client/connhelper/podmancontainer"  // podman-container://NAME
	_ "github.com/moby/buildkit/client/connhelper/ssh"              // ssh://HOST
)

// DefaultStateDir is where the embedded BuildKit keeps its cache.
const DefaultStateDir = "/var/lib/hybrid/buildkit"

// ErrNeedsRoot reports that the embedded BuildKit cannot run as this user.
var ErrNeedsRoot = errors.New("the embedded BuildKit mounts file systems and starts runc, which takes root: " +
	"run with sudo, or set BUILDKIT_HOST to the address of a running BuildKit")

// ErrNeedsRunc reports that there is no runc for the embedded BuildKit.
var ErrNeedsRunc = errors.New("the embedded BuildKit needs runc in PATH: " +
	"install it (apt-get install runc), or set BUILDKIT_HOST to the address of a running BuildKit")

// Options say which BuildKit to use.
type Options struct {
	// Address of a running BuildKit: unix://, tcp://, docker-container://,
	// podman-container://, kube-pod://, ssh://. Empty: the embedded one.
	Address string
	// StateDir of the embedded BuildKit; empty means DefaultStateDir. One process
	// uses it at a time, others wait.
	StateDir string
	// Waiting, if not nil, is called once when another process holds StateDir.
	Waiting func(stateDir string)
}

// BuildKit is a connection to a BuildKit.
type BuildKit struct {
	*client.Client
	// Embedded is set if the BuildKit runs in this process: it has no image store
	// that anybody else could see.
	Embedded bool
	stop     func() error
}

// Open connects to the BuildKit that o asks for, or starts it. The embedded one
// stops with Close, not with ctx. Build with one BuildKit per state folder and
// process: its libraries keep what they know of a folder's files in global caches,
// which point into the databases of the first one after it was closed.
func Open(ctx context.Context, o Options) (*BuildKit, error) {
	if o.Address != "" {
		c, err := client.New(ctx, o.Address)
		if err != nil {
			return nil, fmt.Errorf("BuildKit at %s: %w", o.Address, err)
		}
		if _, err := c.Info(ctx); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("no BuildKit answers at %s: %w", o.Address, err)
		}
		return &BuildKit{Client: c, stop: func() error { return nil }}, nil
	}
	if o.StateDir == "" {
		o.StateDir = DefaultStateDir
	}
	s, err := startServer(ctx, o.StateDir, o.Waiting)
	if err != nil {
		return nil, err
	}
	c, err := client.New(ctx, "", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return s.listener.DialContext(ctx)
	}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded BuildKit: %w", err), s.Close())
	}
	return &BuildKit{Client: c, Embedded: true, stop: s.Close}, nil
}

// Close ends the connection and, if it is ours, the BuildKit: builds that still
// run are cancelled, and their processes are gone when Close returns. Two timers of
// BuildKit's controller, which is made for a daemon, sleep on until the process ends.
func (b *BuildKit) Close() error {
	return errors.Join(b.Client.Close(), b.stop())
}
