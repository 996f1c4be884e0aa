package buildkit

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/containerd/platforms"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/moby/buildkit/client"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Builder is a BuildKit that a build may name.
type Builder struct {
	Name      string // what --builder or docker context use take
	Endpoint  string
	Status    string // running, inactive (started when needed), or why it cannot be used
	Version   string
	Platforms []string
	Current   bool // what Auto chooses
}

const (
	statusRunning  = "running"
	statusInactive = "inactive"
)

// List lists the builders of this machine and what is configured: the one at
// o.Address, the engines of Docker's contexts, the embedded one.
func List(ctx context.Context, o Options) []Builder {
	var probes []func() Builder
	if o.Address != "" {
		probes = append(probes, func() Builder { return probeAddress(ctx, o.Address) })
	}
	current := ""
	if dockerConfigured() {
		file := config.LoadDefaultConfigFile(io.Discard)
		current = currentContext(file.CurrentContext)
		for _, name := range dockerContexts() {
			probes = append(probes, func() Builder { return probeContext(ctx, name, name == current) })
		}
	}
	probes = append(probes, func() Builder { return probeEmbedded(ctx, o.stateDir()) })

	found := make([]Builder, len(probes))
	var group sync.WaitGroup
	for i, probe := range probes {
		group.Go(func() { found[i] = probe() })
	}
	group.Wait()
	markCurrent(found, o, current)
	return found
}

// markCurrent marks what o chooses.
func markCurrent(found []Builder, o Options, current string) {
	for i := range found {
		b := &found[i]
		usable := b.Status == statusRunning || b.Status == statusInactive
		switch o.Builder {
		case Auto, "":
			b.Current = o.Address != "" && i == 0 ||
				o.Address == "" && usable && (b.Name == UseEmbedded || b.Name == current)
		case UseEmbedded:
			b.Current = b.Name == UseEmbedded
		case UseDocker:
			b.Current = b.Name == current
		default:
			b.Current = b.Endpoint == o.Builder
		}
		if b.Current {
			return
		}
	}
}

func currentContext(configured string) string {
	switch name := os.Getenv(command.EnvOverrideContext); {
	case os.Getenv("DOCKER_HOST") != "":
		return command.DefaultContextName
	case name != "":
		return name
	case configured != "":
		return configured
	}
	return command.DefaultContextName
}

// dockerContexts are the names of Docker's contexts, the default one first.
func dockerContexts() []string {
	names := []string{command.DefaultContextName}
	all, err := store.New(config.ContextStoreDir(), command.DefaultContextStoreConfig()).List()
	if err != nil {
		return names // what cannot be read cannot be used either
	}
	for _, m := range all {
		if _, err := docker.EndpointFromContext(m); err == nil {
			names = append(names, m.Name)
		}
	}
	return names
}

func probeAddress(ctx context.Context, address string) Builder {
	b := Builder{Name: "BUILDKIT_HOST", Endpoint: address}
	ctx, cancel := context.WithTimeout(ctx, dockerFarAnswers)
	defer cancel()
	bk, err := openAddress(ctx, address)
	if err != nil {
		b.Status = err.Error()
		return b
	}
	defer bk.Close()
	b.Status, b.Version = statusRunning, bk.Version
	b.Platforms = platformsOf(ctx, bk.Client)
	return b
}

func probeContext(ctx context.Context, name string, current bool) Builder {
	b := Builder{Name: name, Endpoint: "-"}
	if current {
		name = "" // as the docker command does, DOCKER_HOST counts
	}
	e, err := connectContext(ctx, name)
	if err != nil {
		b.Status = err.Error()
		return b
	}
	defer e.Close()
	b.Endpoint, b.Version = e.Address, e.Version
	c, err := e.buildkit(ctx)
	switch {
	case err != nil:
		b.Status = err.Error()
	case c == nil:
		b.Status = e.Lacks
	default:
		defer c.Close()
		b.Status = statusRunning
		b.Platforms = platformsOf(ctx, c)
	}
	return b
}

func probeEmbedded(ctx context.Context, dir string) Builder {
	b := Builder{Name: UseEmbedded, Endpoint: dir, Status: statusInactive, Version: moduleVersion()}
	if served := dialServed(ctx, dir); served != nil {
		defer served.Close()
		b.Endpoint, b.Status, b.Version = served.Address, statusRunning, served.Version
		b.Platforms = platformsOf(ctx, served.Client)
		return b
	}
	_, err := findRunc()
	if os.Geteuid() != 0 {
		_, err = Rootless()
	}
	if err != nil {
		b.Status = err.Error()
		return b
	}
	b.Platforms = formatPlatforms([]v1.Platform{platforms.DefaultSpec()})
	return b
}

func platformsOf(ctx context.Context, c *client.Client) []string {
	workers, err := c.ListWorkers(ctx)
	if err != nil {
		return nil
	}
	var all []v1.Platform
	for _, w := range workers {
		all = append(all, w.Platforms...)
	}
	return formatPlatforms(all)
}

func formatPlatforms(all []v1.Platform) []string {
	var names []string
	for _, p := range all {
		names = append(names, platforms.FormatAll(platforms.Normalize(p)))
	}
	return names
}
