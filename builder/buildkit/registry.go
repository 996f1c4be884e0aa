package buildkit

import (
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/buildkit/util/resolver/config"
)

// certsDirs are the folders in which Docker and podman keep what is needed to trust
// a registry: HOST[:PORT]/*.crt, and *.cert with *.key to log in with
// (docs.docker.com/engine/security/certificates, containers-certs.d(5)). The last
// one wins.
func certsDirs() []string {
	dirs := []string{"/etc/docker/certs.d", "/etc/containers/certs.d"}
	if home, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, "containers/certs.d"))
	}
	return dirs
}

// RegistryHosts says how registries are reached by the embedded BuildKit, and by
// whatever pushes beside it: with the certificates that the engines of this machine
// use too. A registry on this machine without a certificate speaks plain HTTP.
func RegistryHosts() docker.RegistryHosts {
	hosts := map[string]config.RegistryConfig{}
	for _, dir := range certsDirs() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // few machines have any
		}
		for _, e := range entries {
			https := false
			hosts[e.Name()] = config.RegistryConfig{PlainHTTP: &https, TLSConfigDir: []string{filepath.Join(dir, e.Name())}}
		}
	}
	return resolver.NewRegistryConfig(hosts)
}
