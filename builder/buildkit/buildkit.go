// Package buildkit knows where a BuildKit comes from: one that runs already, at an
// address or in a Docker Engine, or one that runs inside of this process.
//
// The embedded BuildKit is the same code as buildkitd with an OCI worker, reached
// over a pipe in memory instead of a socket. It keeps its state in a folder, as
// buildkitd does, so that the second build finds the first one's cache. Serve keeps
// it running on a socket in that folder, where Open finds it.
package buildkit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/client"
	_ "github.com/moby/buildkit/client/connhelper/dockercontainer"  // docker-container://NAME
	_ "github.com/moby/buildkit/client/connhelper/kubepod"          // kube-pod://NAME
	_ "github.com/moby/buildkit/client/connhelper/nerdctlcontainer" // nerdctl-container://NAME
	_ "github.com/moby/buildkit/client/connhelper/podmancontainer"  // podman-container://NAME
	_ "github.com/moby/buildkit/client/connhelper/ssh"              // ssh://HOST
)

// Builders that Options name beside addresses.
const (
	// Auto is the first that there is: the one at Options.Address, a Docker
	// Engine's if it can make firmware images, the embedded one.
	Auto         = "auto"
	UseEmbedded  = "embedded"
	UseDocker    = "docker"
	builderNames = "auto, embedded, docker or an address (unix://…, tcp://…, docker-container://…, podman-container://…, kube-pod://…, ssh://…)"
)

// Options say which BuildKit to use.
type Options struct {
	// Builder is Auto, UseEmbedded, UseDocker or the address of a running BuildKit:
	// unix://, tcp://, docker-container://, podman-container://, kube-pod://, ssh://.
	// Empty: Auto.
	Builder string
	// Address is what Auto prefers; BUILDKIT_HOST by custom.
	Address string
	// StateDir of the embedded BuildKit; empty means DefaultStateDir(). One process
	// uses it at a time, others wait.
	StateDir string
	// Waiting, if not nil, is called once when another process holds StateDir.
	Waiting func(stateDir string)
	// Chosen, if not nil, is called once with a line that says which BuildKit it is.
	Chosen func(line string)
}

// Check finds fault with a Builder that is no name and no address.
func (o Options) Check() error {
	switch b := o.Builder; {
	case b == "", b == Auto, b == UseEmbedded, b == UseDocker, strings.Contains(b, "://"):
		return nil
	}
	return fmt.Errorf("unknown builder %q: want %s", o.Builder, builderNames)
}

func (o Options) stateDir() string {
	if o.StateDir == "" {
		return DefaultStateDir()
	}
	return o.StateDir
}

// Kind is where a BuildKit runs.
type Kind string

// The kinds of BuildKit.
const (
	Embedded Kind = "embedded" // in this process, or in one that it started and ends
	Served   Kind = "served"   // the embedded one, kept by Serve
	Docker   Kind = "docker"   // in a Docker Engine
	Remote   Kind = "remote"   // at an address
)

// BuildKit is a connection to a BuildKit.
type BuildKit struct {
	*client.Client
	Kind    Kind
	Version string // as it says itself; of a Docker Engine, the engine's
	Address string // of its socket; of the embedded one, its state folder
	// Engine is the Docker Engine that was found and takes images: with Kind Docker
	// the one that builds, else one that cannot build what others build. It is nil if
	// none was looked for or none was found.
	Engine *Engine

	stop func() error
}

// executorLabel is on every worker of a BuildKit; that of containerd keeps images.
const executorLabel = "org.mobyproject.buildkit.worker.executor"

// HasImageStore reports whether images can be left with the BuildKit. Where the worker
// is not containerd's there is no store that anybody could see, and an exporter to it
// succeeds and keeps nothing.
func (b *BuildKit) HasImageStore(ctx context.Context) (bool, error) {
	if b.Kind != Remote {
		return b.Kind == Docker, nil
	}
	workers, err := b.ListWorkers(ctx)
	if err != nil {
		return false, fmt.Errorf("%s: %w", b, err)
	}
	// the first is the one that builds
	return len(workers) > 0 && workers[0].Labels[executorLabel] == "containerd", nil
}

// String is the line that says which BuildKit it is.
func (b *BuildKit) String() string {
	switch b.Kind {
	case Docker:
		return fmt.Sprintf("Docker %s at %s", b.Version, b.Address)
	case Remote:
		return fmt.Sprintf("BuildKit %s at %s", b.Version, b.Address)
	}
	return fmt.Sprintf("the %s BuildKit %s (%s)", b.Kind, b.Version, b.Address)
}

// Open connects to the BuildKit that o asks for, or starts it. The embedded one
// stops with Close, not with ctx. Build with one BuildKit per state folder and
// process: its libraries keep what they know of a folder's files in global caches,
// which point into the databases of the first one after it was closed.
func Open(ctx context.Context, o Options) (*BuildKit, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	b, why, err := choose(ctx, o)
	if err != nil {
		if why != "" {
			err = fmt.Errorf("%w (%s)", err, why)
		}
		return nil, err
	}
	if o.Chosen != nil {
		line := "building with " + b.String()
		if why != "" {
			line += ": " + why
		}
		o.Chosen(line)
	}
	return b, nil
}

// choose opens the BuildKit that o asks for; why says what kept it from another one.
func choose(ctx context.Context, o Options) (_ *BuildKit, why string, _ error) {
	engine := (*Engine)(nil)
	switch {
	case o.Builder == UseEmbedded:
	case o.Builder != UseDocker && o.Builder != Auto && o.Builder != "":
		b, err := openAddress(ctx, o.Builder)
		return b, "", err
	case o.Builder != UseDocker && o.Address != "":
		b, err := openAddress(ctx, o.Address)
		return b, "", err
	default:
		b, found, err := openDocker(ctx)
		switch {
		case err != nil && (o.Builder == UseDocker || ctx.Err() != nil):
			return nil, "", err
		case errors.Is(err, ErrNoDocker):
		case err != nil:
			why = err.Error()
		case b != nil:
			return b, "", nil
		default:
			why = fmt.Sprintf("Docker %s at %s %s", found.Version, found.Address, found.Lacks)
		}
		engine = found
	}
	b, err := openEmbedded(ctx, o)
	if err != nil {
		return nil, why, errors.Join(err, engine.Close())
	}
	b.Engine = engine
	return b, why, nil
}

// openAddress connects to a running BuildKit.
func openAddress(ctx context.Context, address string) (*BuildKit, error) {
	c, err := client.New(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("BuildKit at %s: %w", address, err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("no BuildKit answers at %s: %w", address, err)
	}
	return &BuildKit{Client: c, Kind: Remote, Version: info.BuildkitVersion.Version, Address: address}, nil
}

// Close ends the connection and, if it is ours, the BuildKit: builds that still
// run are cancelled, and their processes are gone when Close returns. Two timers of
// BuildKit's controller, which is made for a daemon, sleep on until the process ends.
func (b *BuildKit) Close() error {
	err := errors.Join(b.Client.Close(), b.Engine.Close())
	if b.stop != nil {
		err = errors.Join(err, b.stop())
	}
	return err
}
