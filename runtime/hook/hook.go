// Package hook runs the hooks of a container: runtime-spec, config.md, POSIX-platform
// Hooks.
package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxSaid is how much of what a hook says an error quotes, in bytes.
const maxSaid = 1024

// maxTimeout is the longest timeout, in seconds, that a time.Duration holds.
const maxTimeout = int(min(int64(math.MaxInt64)/int64(time.Second), math.MaxInt))

// Check refuses what the specification does.
func Check(kind string, hooks []specs.Hook) error {
	for i, h := range hooks {
		switch {
		case !filepath.IsAbs(h.Path):
			return fmt.Errorf("hooks.%s[%d]: path %q is not absolute", kind, i, h.Path)
		case h.Timeout != nil && *h.Timeout <= 0:
			return fmt.Errorf("hooks.%s[%d]: timeout %d is not greater than zero", kind, i, *h.Timeout)
		}
	}
	return nil
}

// Run runs a hook with the state of the container on its standard input, in the
// folder dir if it is there; start starts its process. Hooks have no output: what one
// that fails has said is part of the error.
func Run(ctx context.Context, kind string, h specs.Hook, state []byte, dir string, start func(*exec.Cmd) error) error {
	if h.Timeout != nil {
		var cancel context.CancelFunc
		seconds := min(*h.Timeout, maxTimeout)
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(seconds)*time.Second, errTimeout)
		defer cancel()
	}
	said := &tail{}
	cmd := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		cmd.Args = h.Args // args[0] is what the program is called
	}
	cmd.Env = append([]string{}, h.Env...) // and nothing of ours
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(state), said, said
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		cmd.Dir = dir
	}
	// with what it has started, which may hold its output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has left a process that goes on
		return nil
	case errors.Is(context.Cause(ctx), errTimeout):
		err = fmt.Errorf("%w of %d s", errTimeout, *h.Timeout)
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	if text := said.line(); text != "" {
		return fmt.Errorf("hook %s %s: %w: %s", kind, h.Path, err, text)
	}
	return fmt.Errorf("hook %s %s: %w", kind, h.Path, err)
}

var errTimeout = errors.New("it did not end within its timeout")

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if over := len(t.text) - maxSaid; over > 0 {
		t.text = t.text[:copy(t.text, t.text[over:])]
	}
	return len(b), nil
}

func (t *tail) line() string { return strings.Join(strings.Fields(string(t.text)), " ") }
