package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// engineAnswers is how long a container engine has to say that it is there.
const engineAnswers = 2 * time.Second

// pipesClose is how long children of an engine's command that was killed may hold
// its pipes open before they are closed.
const pipesClose = time.Second

// engine is a container engine that images can be loaded into, by its own command:
// that knows its sockets, contexts and namespaces.
type engine struct {
	name  string
	probe []string // succeeds where the engine answers
	load  []string // takes an image archive on standard input
}

// engines in the order in which --load looks for them.
var engines = []engine{
	{"docker", []string{"docker", "version", "--format", "{{.Server.Version}}"}, []string{"docker", "load", "--quiet"}},
	// no unpacking: the image is for the board's Linux, which need not be this one
	{
		"containerd",
		[]string{"ctr", "--connect-timeout", engineAnswers.String(), "version"},
		[]string{"ctr", "images", "import", "--all-platforms", "--no-unpack", "-"},
	},
	{"podman", []string{"podman", "version"}, []string{"podman", "load", "--quiet"}},
}

// loadAny is the --load without an engine's name.
const loadAny = "true"

// parseLoad parses --load: an engine's name, or as with buildx true or false. The
// result is an engine's name, loadAny, or empty for none.
func parseLoad(flag string) (string, error) {
	if flag == "" {
		return "", nil
	}
	if on, err := strconv.ParseBool(flag); err == nil {
		if on {
			return loadAny, nil
		}
		return "", nil
	}
	if !slices.ContainsFunc(engines, func(e engine) bool { return e.name == flag }) {
		return "", usageErrorf("--load=%s: want docker, containerd or podman", flag)
	}
	return flag, nil
}

// findEngine returns the engine of that name, or the first that answers.
func findEngine(ctx context.Context, name string) (*engine, error) {
	var tried []string
	for _, e := range engines {
		if name != loadAny && name != e.name {
			continue
		}
		if e.answers(ctx) {
			return &e, nil
		}
		tried = append(tried, e.name)
	}
	return nil, fmt.Errorf("--load: no engine answers (tried %s by their commands %s): start one, or write a file with --output type=docker,dest=FILE",
		strings.Join(tried, ", "), strings.Join(commandsOf(tried), ", "))
}

func commandsOf(names []string) []string {
	var commands []string
	for _, e := range engines {
		if slices.Contains(names, e.name) {
			commands = append(commands, e.probe[0])
		}
	}
	return commands
}

func (e *engine) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, engineAnswers)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.probe[0], e.probe[1:]...)
	cmd.WaitDelay = pipesClose
	out, err := cmd.Output()
	return err == nil && strings.TrimSpace(string(out)) != ""
}

// toEngine pipes the archive into the engine.
func (d *destination) toEngine(ctx context.Context, e *engine) {
	ctx, cancel := context.WithCancel(ctx)
	var said strings.Builder
	load := exec.CommandContext(ctx, e.load[0], e.load[1:]...)
	load.Stdout, load.Stderr = &said, &said
	load.WaitDelay = pipesClose
	what, started := e.load[0]+" "+e.load[1], false
	d.entry.Output = func(map[string]string) (io.WriteCloser, error) {
		pipe, err := load.StdinPipe()
		if err != nil {
			return nil, err
		}
		if err := load.Start(); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		started = true
		return pipe, nil
	}
	d.commit = func() error {
		defer cancel()
		if !started {
			return errors.New(what + ": BuildKit sent nothing")
		}
		if err := load.Wait(); err != nil {
			return fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(said.String()))
		}
		d.note = strings.TrimSpace(said.String())
		return nil
	}
	d.abort = func() {
		cancel()
		if started {
			_ = load.Wait() // killed: only its end matters
		}
	}
}
