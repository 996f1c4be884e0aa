package runtime

import (
	"maps"
	"strconv"

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
		delete(s.Annotations, key) // an image's author may have set it
		if value != "" {
			s.Annotations[key] = value
		}
	}
	set(image.KeyBoard, c.Board)
	set(image.KeyMCU, c.MCU)
	set(image.KeyProcessor, c.Processor)
	set(KeyDigest, c.Digest)
	set(KeyProcessorState, string(c.kernel))
	code, reason := "", ""
	if c.exit != nil {
		code, reason = strconv.Itoa(c.exit.Code), c.exit.Reason
	}
	set(KeyExitCode, code)
	set(KeyExitReason, reason)
	return s
}
