package builder

import (
	"io"

	"github.com/docker/cli/cli/config"
	buildctl "github.com/moby/buildkit/cmd/buildctl/build"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"
)

// attachables are what a build may ask of this machine while it runs, and what never
// becomes part of an image: credentials, secrets and SSH agents.
func (r *Request) attachables() ([]session.Attachable, error) {
	all := []session.Attachable{credentials()}
	if len(r.Secrets) > 0 {
		secrets, err := buildctl.ParseSecret(r.Secrets)
		if err != nil {
			return nil, usageErrorf("--secret: %w (want id=NAME[,src=FILE|env=VARIABLE])", err)
		}
		all = append(all, secrets)
	}
	if len(r.SSH) > 0 {
		configs, err := buildctl.ParseSSH(r.SSH)
		if err != nil {
			return nil, usageErrorf("--ssh: %w (want default|NAME[=SOCKET|KEY[,KEY…]])", err)
		}
		agents, err := sshprovider.NewSSHAgentProvider(configs)
		if err != nil {
			return nil, usageErrorf("--ssh: %w (want default|NAME[=SOCKET|KEY[,KEY…]], or an agent at SSH_AUTH_SOCK)", err)
		}
		all = append(all, agents)
	}
	return all, nil
}

// addProxies adds the proxies that Docker's configuration names for builds, as docker
// build does: HTTP_PROXY and its like. They are not kept in the image.
func addProxies(args map[string]string) {
	for name, value := range config.LoadDefaultConfigFile(io.Discard).ParseProxyConfig("", nil) {
		if _, ok := args[name]; !ok && value != nil {
			args[name] = *value
		}
	}
}

// credentials are those of docker login, for base images, caches and pushes.
func credentials() session.Attachable {
	return authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(config.LoadDefaultConfigFile(io.Discard)),
	})
}
