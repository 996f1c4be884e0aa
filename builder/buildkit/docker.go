package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/flags"
	"github.com/moby/buildkit/client"
	docker "github.com/moby/moby/client"
	"golang.org/x/mod/semver"
)

const (
	// dockerAnswers is how long a Docker Engine on this machine has to say that it
	// is there, dockerFarAnswers one behind ssh or a network.
	dockerAnswers    = 2 * time.Second
	dockerFarAnswers = 10 * time.Second
	// snapshotterLabel is on the worker of a Docker Engine with the containerd image
	// store. Without it there is only the exporter moby, and no named contexts.
	snapshotterLabel = "org.mobyproject.buildkit.worker.snapshotter"
	// minimumBuildKit is the first BuildKit with rewrite-timestamp: an older one makes
	// another digest with each build.
	minimumBuildKit = "v0.13.0"
)

// ErrNoDocker reports that nothing says where a Docker Engine may be.
var ErrNoDocker = errors.New("no Docker Engine: there is no " + docker.DefaultDockerHost + ", no DOCKER_HOST and no context")

// Engine is a Docker Engine.
type Engine struct {
	Version string
	Address string // unix:///var/run/docker.sock
	// Lacks says what its BuildKit cannot do; empty if it makes the same images as
	// any other BuildKit.
	Lacks string

	api docker.APIClient
}

// ConnectDocker finds the Docker Engine that the docker command would use: that of
// DOCKER_HOST, DOCKER_CONTEXT, the current context, or this machine's. It costs
// microseconds if there is none.
func ConnectDocker(ctx context.Context) (*Engine, error) {
	if !dockerConfigured() {
		return nil, ErrNoDocker
	}
	return connectContext(ctx, "")
}

// dockerConfigured reports whether anything says where a Docker Engine may be: asking
// costs less than reading Docker's configuration.
func dockerConfigured() bool {
	if os.Getenv(docker.EnvOverrideHost) != "" || os.Getenv(command.EnvOverrideContext) != "" {
		return true
	}
	for _, name := range []string{dockerSocket(), filepath.Join(config.Dir(), config.ConfigFileName)} {
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return false
}

// dockerSocket is where a Docker Engine listens if nothing says otherwise.
func dockerSocket() string { return strings.TrimPrefix(docker.DefaultDockerHost, "unix://") }

// connectContext connects to the engine of a context of the docker command; "" is
// the current one.
func connectContext(ctx context.Context, name string) (*Engine, error) {
	// not command.DockerCli's own client: that one ends the process if it cannot be made
	api, err := command.NewAPIClientFromFlags(&flags.ClientOptions{Context: name}, config.LoadDefaultConfigFile(io.Discard))
	if err != nil {
		return nil, fmt.Errorf("no Docker Engine: %w", err)
	}
	e := &Engine{api: api, Address: api.DaemonHost()}
	if _, err := os.Stat(dockerSocket()); err != nil && e.Address == docker.DefaultDockerHost {
		return nil, errors.Join(ErrNoDocker, api.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, answers(e.Address))
	defer cancel()
	version, err := api.ServerVersion(ctx, docker.ServerVersionOptions{})
	if err != nil {
		_ = api.Close()
		return nil, fmt.Errorf("no Docker Engine answers at %s: %w", e.Address, oneLine(err))
	}
	e.Version = version.Version
	return e, nil
}

func answers(address string) time.Duration {
	if strings.HasPrefix(address, "unix://") {
		return dockerAnswers
	}
	return dockerFarAnswers
}

// oneLine is an error whose text is one line.
func oneLine(err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return errors.New(strings.Join(strings.Fields(text), " "))
	}
	return err
}

// openDocker opens the BuildKit of the Docker Engine that there is. If that cannot do
// it, there is an engine and no BuildKit.
func openDocker(ctx context.Context) (*BuildKit, *Engine, error) {
	e, err := ConnectDocker(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := e.buildkit(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, e.Close())
	}
	if c == nil {
		return nil, e, nil
	}
	return &BuildKit{Client: c, Kind: Docker, Version: e.Version, Address: e.Address, Engine: e}, e, nil
}

// buildkit connects to the engine's BuildKit; there is none if e.Lacks says why.
func (e *Engine) buildkit(ctx context.Context) (*client.Client, error) {
	c, err := client.New(ctx, "",
		client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return e.api.DialHijack(ctx, "/grpc", "h2c", nil)
		}),
		client.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			return e.api.DialHijack(ctx, "/session", proto, meta)
		}))
	if err != nil {
		return nil, fmt.Errorf("BuildKit of Docker at %s: %w", e.Address, err)
	}
	wait, cancel := context.WithTimeout(ctx, answers(e.Address))
	defer cancel()
	workers, err := c.ListWorkers(wait)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), c.Close())
		}
		e.Lacks = "has no BuildKit that answers"
		return nil, c.Close()
	}
	if e.Lacks = lacks(workers); e.Lacks != "" {
		return nil, c.Close()
	}
	return c, nil
}

// lacks says what a Docker Engine with these workers does not have.
func lacks(workers []*client.WorkerInfo) string {
	for _, w := range workers {
		if _, ok := w.Labels[snapshotterLabel]; !ok {
			continue
		}
		if v := w.BuildkitVersion.Version; semver.IsValid(v) && semver.Compare(v, minimumBuildKit) < 0 {
			return "has BuildKit " + v + ", older than " + minimumBuildKit
		}
		return ""
	}
	return "has no containerd image store"
}

// HasImageStore reports whether the engine keeps its images in containerd's store: as
// they are, whatever their compression, and an index too.
func (e *Engine) HasImageStore(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answers(e.Address))
	defer cancel()
	info, err := e.api.Info(ctx, docker.InfoOptions{})
	if err != nil {
		return false, fmt.Errorf("Docker at %s: %w", e.Address, oneLine(err))
	}
	for _, s := range info.Info.DriverStatus {
		if s[0] == "driver-type" && strings.HasPrefix(s[1], "io.containerd.snapshotter.") {
			return true, nil
		}
	}
	return false, nil
}

// Load loads an archive of images, as docker load does, and returns what the engine
// says of it.
func (e *Engine) Load(ctx context.Context, archive io.Reader) (string, error) {
	response, err := e.api.ImageLoad(ctx, archive, docker.ImageLoadWithQuiet(true))
	if err != nil {
		return "", fmt.Errorf("load into Docker at %s: %w", e.Address, oneLine(err))
	}
	defer response.Close()
	said, err := readMessages(response)
	if err != nil {
		return said, fmt.Errorf("load into Docker at %s: %w", e.Address, oneLine(err))
	}
	return said, nil
}

// readMessages reads Docker's stream of JSON messages: what it says, and its error.
func readMessages(r io.Reader) (string, error) {
	var said strings.Builder
	for d := json.NewDecoder(r); ; {
		var m struct {
			Stream      string `json:"stream"`
			ErrorDetail *struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return strings.TrimSpace(said.String()), nil
		case err != nil:
			return strings.TrimSpace(said.String()), fmt.Errorf("answer: %w", err)
		case m.ErrorDetail != nil:
			return strings.TrimSpace(said.String()), errors.New(m.ErrorDetail.Message)
		}
		said.WriteString(m.Stream)
	}
}

// Close ends the connection.
func (e *Engine) Close() error {
	if e == nil {
		return nil
	}
	return e.api.Close()
}
