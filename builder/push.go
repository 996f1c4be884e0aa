package builder

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/platforms"
	"github.com/docker/cli/cli/config"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

// push sends desc and all that it refers to from store to registries, with the
// credentials of docker login; insecure ones speak plain HTTP.
func push(ctx context.Context, store content.Store, desc v1.Descriptor, names []string, insecure bool) error {
	authorizer := docker.NewDockerAuthorizer(docker.WithAuthCreds(loggedIn))
	known := buildkit.RegistryHosts()
	if insecure {
		known = docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchAllHosts))
	}
	authorized := func(name string) ([]docker.RegistryHost, error) {
		hosts, err := known(name)
		for i := range hosts {
			hosts[i].Authorizer = authorizer
		}
		return hosts, err
	}
	for _, name := range names {
		// one for each name: a resolver takes for pushed what it has pushed under another
		resolver := docker.NewResolver(docker.ResolverOptions{Hosts: authorized})
		// with the digest the tag is put on desc alone, not on each manifest below it
		pusher, err := resolver.Pusher(ctx, name+"@"+desc.Digest.String())
		if err == nil {
			err = remotes.PushContent(ctx, pusher, desc, store, nil, platforms.All, nil)
		}
		if err != nil {
			return fmt.Errorf("push %s: %w", name, err)
		}
	}
	return nil
}

// loggedIn are the credentials for a registry; empty if there are none.
func loggedIn(host string) (user, secret string, err error) {
	if host == "registry-1.docker.io" {
		host = "https://index.docker.io/v1/" // as docker login calls it
	}
	auth, err := config.LoadDefaultConfigFile(io.Discard).GetAuthConfig(host)
	if err != nil {
		return "", "", err
	}
	if auth.IdentityToken != "" {
		return "", auth.IdentityToken, nil
	}
	return auth.Username, auth.Password, nil
}
