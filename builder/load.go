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
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"golang.org/x/mod/semver"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
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
	// keepsIndex reports whether it keeps an index of images as that; nil: never
	keepsIndex func(context.Context) bool
	needsName  bool // keeps no image without one, and does not say so
	chatty     bool // says more than that the image is there
}

// engines in the order in which --load looks for them.
var engines = []engine{
	{
		name:  dockerEngine,
		probe: []string{"docker", "version", "--format", "{{.Server.Version}}"},
		load:  []string{"docker", "load", "--quiet"},
		keepsIndex: func(ctx context.Context) bool {
			status, err := ask(ctx, []string{"docker", "info", "--format", "{{.DriverStatus}}"})
			return err == nil && strings.Contains(status, "io.containerd.snapshotter")
		},
	},
	// no unpacking: the image is for the board's Linux, which need not be this one
	{
		name:       "containerd",
		probe:      []string{"ctr", "--connect-timeout", engineAnswers.String(), "version"},
		load:       []string{"ctr", "images", "import", "--all-platforms", "--no-unpack", "-"},
		keepsIndex: func(context.Context) bool { return true },
		needsName:  true,
		chatty:     true,
	},
	// an index it would refuse, or take the one image for this machine's own platform
	{name: "podman", probe: []string{"podman", "version"}, load: []string{"podman", "load", "--quiet"}},
}

// dockerEngine is the --load that is reached through Docker's API, where it answers.
const dockerEngine = "docker"

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

// loadInto prepares to load the archive into the engine of that name, or into the
// first that answers. What the engine cannot take is told now, not after the build.
func (r *Request) loadInto(ctx context.Context, d *destination, out *output, name string) error {
	var tried []string
	for _, e := range engines {
		if name != loadAny && name != e.name {
			continue
		}
		api, err := e.reach(ctx)
		switch {
		case ctx.Err() != nil:
			_ = api.Close() // nil, or of no use any more
			return context.Cause(ctx)
		case err != nil:
			tried = append(tried, fmt.Sprintf("%s: %v", e.name, err))
			continue
		case api != nil:
			if err := r.dockerTakes(ctx, api, out); err != nil {
				return errors.Join(err, api.Close())
			}
			d.toDocker(ctx, api)
			d.closes(api)
			return nil
		}
		if e.needsName && out.attrs[keyName] == "" {
			return usageErrorf("--load: %s keeps no image without a name: add --tag NAME", e.name)
		}
		if r.makesIndex() && (e.keepsIndex == nil || !e.keepsIndex(ctx)) {
			return fmt.Errorf("%s cannot take an index of several targets: put them into one image with --pack", e.name)
		}
		d.toEngine(ctx, &e, out.attrs[keyName])
		return nil
	}
	return &noEngineError{strings.Join(tried, "; ")}
}

// noEngineError reports that no engine answers, and why.
type noEngineError struct{ why string }

func (e *noEngineError) Error() string {
	return "--load: no engine answers (" + e.why + "): start one, or write a file with --output type=docker,dest=FILE"
}

// dockerTakes finds fault with what a Docker Engine would refuse after the build.
func (r *Request) dockerTakes(ctx context.Context, e *buildkit.Engine, out *output) error {
	zstd := out.attrs[string(exptypes.OptKeyLayerCompression)] == "zstd"
	if !r.makesIndex() && !zstd {
		return nil
	}
	hasStore, err := e.HasImageStore(ctx)
	switch {
	case err != nil:
		return err
	case hasStore:
		return nil
	case r.makesIndex():
		return fmt.Errorf("Docker %s at %s has no containerd image store and cannot take an index of several targets: put them into one image with --pack",
			e.Version, e.Address)
	case semver.IsValid("v"+e.Version) && semver.Compare("v"+e.Version, firstZstdDocker) < 0:
		return fmt.Errorf("Docker %s at %s cannot load layers of compression=zstd: leave it out", e.Version, e.Address)
	}
	return nil
}

// firstZstdDocker is the first Docker Engine that reads zstd without the containerd
// image store.
const firstZstdDocker = "v23.0.0"

// reach returns why the engine does not answer. Docker is asked by its socket first;
// that connection is returned, and none where the command answers.
func (e *engine) reach(ctx context.Context) (api *buildkit.Engine, err error) {
	if e.name != dockerEngine {
		return nil, e.answers(ctx)
	}
	api, err = buildkit.ConnectDocker(ctx)
	if err == nil || errors.Is(err, context.DeadlineExceeded) { // where it hangs, so does its command
		return api, err
	}
	unanswered := e.answers(ctx)
	if unanswered == nil || errors.Is(err, buildkit.ErrNoDocker) {
		return nil, unanswered
	}
	return nil, err // it knows the address
}

// answers returns why the engine does not answer.
func (e *engine) answers(ctx context.Context) error {
	out, err := ask(ctx, e.probe)
	if err == nil && out == "" {
		return errors.New(e.probe[0] + " says nothing")
	}
	return err
}

// ask returns what a command says on standard output.
func ask(ctx context.Context, command []string) (string, error) {
	wait, cancel := context.WithTimeout(ctx, engineAnswers)
	defer cancel()
	cmd := exec.CommandContext(wait, command[0], command[1:]...)
	cmd.WaitDelay = pipesClose
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("there is no command %s", command[0])
	case err != nil && wait.Err() != nil:
		return "", fmt.Errorf("%s does not answer within %s", command[0], engineAnswers)
	case err != nil:
		return "", fmt.Errorf("%s: %w: %s", verb(command), err, inOneLine(said.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// verb is a command without its options.
func verb(command []string) string {
	options := slices.IndexFunc(command, func(word string) bool { return strings.HasPrefix(word, "-") })
	if options < 0 {
		options = len(command)
	}
	return strings.Join(command[:options], " ")
}

// inOneLine is what a command says on standard error, without lines of its log.
func inOneLine(said string) string {
	var words []string
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, `time="`) {
			words = append(words, strings.Fields(line)...)
		}
	}
	return strings.Join(words, " ")
}

// toEngine pipes the archive into the engine's command.
func (d *destination) toEngine(ctx context.Context, e *engine, name string) {
	ctx, cancel := context.WithCancel(ctx)
	var said, complaint strings.Builder
	load := exec.CommandContext(ctx, e.load[0], e.load[1:]...)
	load.Stdout, load.Stderr = &said, &complaint
	load.WaitDelay = pipesClose
	what := verb(e.load)
	started := false
	var broken atomic.Bool
	d.entry.Output = func(map[string]string) (io.WriteCloser, error) {
		pipe, err := load.StdinPipe()
		if err != nil {
			return nil, err
		}
		if err := load.Start(); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		started = true
		return &engineWriter{pipe, &broken}, nil
	}
	wait := sync.OnceValue(func() error {
		switch err := load.Wait(); {
		case err != nil:
			return fmt.Errorf("%s: %w: %s", what, err, inOneLine(complaint.String()))
		case broken.Load():
			return errors.New(what + ": ended before it had the whole image")
		}
		return nil
	})
	d.ownError = func() error {
		if !broken.Load() {
			return nil
		}
		// it closed its end, so it ends; or it is stuck, and has to
		timer := time.AfterFunc(pipesClose, cancel)
		defer timer.Stop()
		return wait()
	}
	d.mayFail = true
	d.commit = func() error {
		defer cancel()
		if !started {
			return errors.New(what + ": BuildKit sent nothing")
		}
		if err := wait(); err != nil {
			return err
		}
		d.note = strings.TrimSpace(said.String())
		if e.chatty {
			d.note = "Loaded image: " + strings.ReplaceAll(name, ",", ", ")
		}
		return nil
	}
	d.abort = func() {
		cancel()
		if started {
			_ = wait() // killed: only its end matters
		}
	}
}

// engineWriter notes that the reader of the pipe is gone.
type engineWriter struct {
	io.WriteCloser
	broken *atomic.Bool
}

func (w *engineWriter) Write(p []byte) (int, error) {
	n, err := w.WriteCloser.Write(p)
	if err != nil {
		w.broken.Store(true)
	}
	return n, err
}
