package main

import (
	"encoding/json"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/hybrid-containers/hybrid/image"
)

func (a *app) features() *verb {
	return &verb{
		name:  "features",
		short: "Show what this runtime supports, as JSON",
		more:  true,
		run: func([]string) error {
			yes, no := true, false
			e := json.NewEncoder(a.out)
			e.SetIndent("", "    ")
			return e.Encode(features.Features{
				OCIVersionMin: "1.0.0",
				OCIVersionMax: specs.Version,
				Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
				MountOptions:  []string{}, // nothing is mounted for a firmware
				Linux: &features.Linux{
					Namespaces:   []string{"cgroup", "ipc", "mount", "network", "pid", "time", "uts"}, // user is refused
					Capabilities: []string{},
					Seccomp:      &features.Seccomp{Enabled: &no},
					Apparmor:     &features.Apparmor{Enabled: &no},
					Selinux:      &features.Selinux{Enabled: &no},
					IntelRdt:     &features.IntelRdt{Enabled: &no},
					Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &no, SystemdUser: &no, Rdma: &no},
				},
				// what chooses a core, takes one over from the boot loader or keeps its memory may
				// not come from whoever wrote an image; board and mcu can only refuse one
				PotentiallyUnsafeConfigAnnotations: []string{image.KeyProcessor, "hybrid."},
			})
		},
	}
}
