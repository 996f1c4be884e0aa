package runtime

import (
	"fmt"
	"maps"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/image"
)

// State returns the state of a container as the specification wants it
// (runtime-spec, runtime.md, State), with the processor, the firmware and the
// target among the annotations. A processor that a killed monitor left running is
// stopped first.
func (r *Runtime) State(id string) (*specs.State, error) {
	r.sweep()
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	return c.state(), nil
}

func (c *container) state() *specs.State {
	s := &specs.State{Version: c.Version, ID: c.ID, Status: c.status, Bundle: c.Bundle, Annotations: map[string]string{}}
	if c.status != specs.StateStopped {
		s.Pid = c.Monitor.PID
	}
	maps.Copy(s.Annotations, c.Annotations)
	set := func(key, value string) {
		if value != "" {
			s.Annotations[key] = value
		}
	}
	set(image.KeyBoard, c.Board)
	set(image.KeyMCU, c.MCU)
	set(image.KeyProcessor, c.Processor)
	set(KeyDigest, c.Digest)
	set(KeyProcessorState, string(c.kernel))
	if c.exit != nil {
		set(KeyExitCode, fmt.Sprint(c.exit.Code))
		set(KeyExitReason, c.exit.Reason)
	}
	return s
}
