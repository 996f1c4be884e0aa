package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/moby/buildkit/client"
)

// rootStateDir is where the embedded BuildKit keeps its cache when root runs it.
const rootStateDir = "/var/lib/hybrid/buildkit"

// DefaultStateDir is where the embedded BuildKit keeps its cache: a folder of the
// system for root, one of their own for others.
func DefaultStateDir() string {
	if os.Geteuid() == 0 {
		return rootStateDir
	}
	data := os.Getenv("XDG_DATA_HOME")
	if data == "" {
		data = filepath.Join(os.Getenv("HOME"), ".local", "share")
	}
	return filepath.Join(data, "hybrid", "buildkit")
}

// openEmbedded connects to the server of the state folder if there is one, else
// starts a BuildKit: in this process, or as another user than root in a child.
func openEmbedded(ctx context.Context, o Options) (*BuildKit, error) {
	dir := o.stateDir()
	if os.Geteuid() != 0 {
		if b := dialServed(ctx, dir); b != nil {
			return b, nil
		}
		return openRootless(ctx, o)
	}
	runc, err := findRunc()
	if err != nil {
		if b := dialServed(ctx, dir); b != nil {
			return b, nil
		}
		return nil, err
	}
	var served *BuildKit
	lock, err := lockState(ctx, dir, o.Waiting, func() bool { served = dialServed(ctx, dir); return served != nil })
	if err != nil || served != nil {
		return served, err
	}
	s, err := startServer(dir, runc, lock)
	if err != nil {
		return nil, err
	}
	c, err := client.New(ctx, "", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return s.pipe.DialContext(ctx)
	}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded BuildKit: %w", err), s.Close())
	}
	return &BuildKit{Client: c, Kind: Embedded, Version: moduleVersion(), Address: dir, stop: s.Close}, nil
}

// socketName is that of the socket in a state folder on which Serve listens.
const socketName = "hybrid.sock"

func socketOf(stateDir string) string { return filepath.Join(stateDir, socketName) }

// dialServed connects to the server of a state folder, or returns nil: a socket that
// a killed server left behind refuses, and a server that is about to end hangs up.
func dialServed(ctx context.Context, stateDir string) *BuildKit {
	name := socketOf(stateDir)
	if _, err := os.Stat(name); err != nil {
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", name)
	if err != nil {
		return nil
	}
	_ = conn.Close()
	b, err := openAddress(ctx, "unix://"+name)
	if err != nil {
		return nil
	}
	b.Kind = Served
	return b
}
