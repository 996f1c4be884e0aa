package runtime

import (
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/runtime/cgroup"
	"github.com/hybrid-containers/hybrid/runtime/namespace"
)

// surroundings are what a bundle wants for the process of its container besides the
// firmware.
type surroundings struct {
	namespaces *namespace.Set
	cgroup     *cgroup.Cgroup // nil if it stays in its caller's
	resources  *specs.LinuxResources
	hooks      *specs.Hooks
	preserved  []*os.File // that the monitor keeps open

	// what its standard streams are: ours, as the specification wants of a container's
	// process, a terminal, or none
	inherit  bool
	terminal *terminal
}

// surround checks what a bundle wants, and makes nothing but the terminal. Without a
// bundle it wants nothing. The caller closes it.
func surround(spec *specs.Spec, o CreateOptions) (*surroundings, error) {
	s := &surroundings{namespaces: &namespace.Set{}, inherit: o.Stdio || o.Bundle != ""}
	if spec != nil {
		if err := s.read(spec, o.SystemdCgroup); err != nil {
			s.close()
			return nil, fmt.Errorf("bundle %s: %w", o.Bundle, err)
		}
	}
	var err error
	if s.terminal, err = consoleOf(o, spec); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *surroundings) read(spec *specs.Spec, systemd bool) (err error) {
	if err := checkHooks(spec.Hooks); err != nil {
		return err
	}
	s.hooks = spec.Hooks
	if spec.Linux == nil {
		return nil
	}
	s.resources = spec.Linux.Resources
	if spec.Linux.CgroupsPath != "" {
		if s.cgroup, err = cgroup.Find(spec.Linux.CgroupsPath, systemd); err != nil {
			return err
		}
		// what is in it ends with the container
		pids, err := cgroup.Processes(s.folders())
		if err != nil {
			return err
		}
		if len(pids) > 0 {
			return fmt.Errorf("linux.cgroupsPath %s: process %d is in that cgroup already, and would be killed with the container: name another one", spec.Linux.CgroupsPath, pids[0])
		}
	}
	namespaces, err := namespace.Open(spec.Linux.Namespaces)
	if err == nil {
		s.namespaces = namespaces
	}
	return err
}

func (s *surroundings) close() {
	s.namespaces.Close()
	if s.terminal != nil {
		s.terminal.close()
	}
}

// folders are those of the cgroup.
func (s *surroundings) folders() []string {
	if s.cgroup == nil {
		return nil
	}
	return s.cgroup.Folders()
}

// make makes the cgroup.
func (s *surroundings) make() error {
	if s.cgroup == nil {
		return nil
	}
	if err := s.cgroup.Make(); err != nil {
		return err
	}
	return s.cgroup.Limit(s.resources)
}

// enter puts a process into the cgroup.
func (s *surroundings) enter(pid int) error {
	if s.cgroup == nil {
		return nil
	}
	return s.cgroup.Enter(pid)
}
