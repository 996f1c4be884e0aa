package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/runtime/hook"
	"github.com/hybrid-containers/hybrid/runtime/namespace"
)

// Names of the hooks, as config.json has them.
const (
	hookPrestart        = "prestart"
	hookCreateRuntime   = "createRuntime"
	hookCreateContainer = "createContainer"
	hookStartContainer  = "startContainer"
	hookPoststart       = "poststart"
	hookPoststop        = "poststop"
)

func checkHooks(h *specs.Hooks) error {
	if h == nil {
		return nil
	}
	for _, k := range []struct {
		kind  string
		hooks []specs.Hook
	}{
		{hookPrestart, h.Prestart}, //nolint:staticcheck // deprecated, and what Docker uses
		{hookCreateRuntime, h.CreateRuntime},
		{hookCreateContainer, h.CreateContainer},
		{hookStartContainer, h.StartContainer},
		{hookPoststart, h.Poststart},
		{hookPoststop, h.Poststop},
	} {
		if err := hook.Check(k.kind, k.hooks); err != nil {
			return err
		}
	}
	return nil
}

// createHooks runs the hooks of create, up to the first that fails.
func (c *container) createHooks(ctx context.Context) error {
	if c.Hooks == nil {
		return nil
	}
	if err := c.runHooks(ctx, hookPrestart, c.Hooks.Prestart); err != nil { //nolint:staticcheck // deprecated, and what Docker uses
		return err
	}
	if err := c.runHooks(ctx, hookCreateRuntime, c.Hooks.CreateRuntime); err != nil {
		return err
	}
	return c.runHooks(ctx, hookCreateContainer, c.Hooks.CreateContainer)
}

// runHooks runs hooks in their order, up to the first that fails.
func (c *container) runHooks(ctx context.Context, kind string, hooks []specs.Hook) error {
	if len(hooks) == 0 {
		return nil
	}
	state, err := json.Marshal(c.state())
	if err != nil {
		return err
	}
	closeOnExec()
	start := (*exec.Cmd).Start
	if kind == hookCreateContainer || kind == hookStartContainer {
		s, err := namespace.Of(c.Monitor.PID)
		if err != nil {
			return fmt.Errorf("hooks.%s: %w", kind, err)
		}
		defer s.Close()
		start = s.Start
	}
	for _, h := range hooks {
		if err := hook.Run(ctx, kind, h, state, c.Bundle, start); err != nil {
			return err
		}
	}
	return nil
}

// poststop runs the hooks of a container that is gone. One that fails is a warning,
// and the others run all the same.
func (r *Runtime) poststop(c *container) {
	if c.Hooks == nil {
		return
	}
	c.status = specs.StateStopped
	for i := range c.Hooks.Poststop {
		if err := c.runHooks(context.Background(), hookPoststop, c.Hooks.Poststop[i:i+1]); err != nil {
			r.warn(err)
		}
	}
}

func (r *Runtime) warn(err error) {
	if r.Warn != nil {
		r.Warn(err)
	}
}
