package setup

import (
	"context"
	"fmt"
	"path/filepath"
)

// RuntimeName is what engines call us.
const RuntimeName = "hybrid"

// Engine is a container engine that can be told about hybrid-runtime.
type Engine struct {
	Name string
	// Restart is what makes it read its configuration again; empty: nothing must.
	Restart string
	// Program is its daemon, or its command.
	Program string
	// folder is there if it has been started once.
	folder string
	// settings are what is to be set, for this path of hybrid-runtime.
	settings func(ctx context.Context, o *Options, runtime string) ([]setting, error)
	// installed are what may have been set.
	installed func(o *Options) ([]setting, error)
}

// Names of engines.
const (
	Docker     = "docker"
	Containerd = "containerd"
	Podman     = "podman"
	K3s        = "k3s"
)

// Engines are all that are known.
func Engines() []*Engine {
	return []*Engine{
		// a reload is enough for runtimes, and stops no container
		{Docker, "systemctl reload docker", "dockerd", "", dockerSettings, dockerInstalled},
		{Containerd, "systemctl restart containerd", "containerd", "", containerdSettings, containerdInstalled},
		{Podman, "", "podman", "", podmanSettings, podmanInstalled},
		{K3s, "systemctl restart k3s (on an agent: k3s-agent)", "k3s", k3sFolder, k3sSettings, k3sInstalled},
	}
}

// Found reports whether a machine has the engine.
func (e *Engine) Found(m Machine) bool {
	if e.folder != "" && m.exists(e.folder) {
		return true
	}
	_, err := m.Look(e.Program)
	return err == nil
}

// config is the configuration file of an engine, as the machine has it.
func (o *Options) config(engine, usual string) (string, error) {
	file := o.Configs[engine]
	if file == "" {
		return usual, nil
	}
	if o.Machine.Own() {
		return filepath.Abs(file)
	}
	if !filepath.IsAbs(file) {
		return "", fmt.Errorf("--%s-config %s: want an absolute path with --root", engine, file)
	}
	return file, nil
}
