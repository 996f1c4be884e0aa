package runtime

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/bundle"
	"github.com/hybrid-containers/hybrid/runtime/claim"
)

// Keys of annotations by which a container is told how to treat its processor. Where
// no annotations can be given, as with Docker 20.10, the environment is asked:
// hybrid.on-stop is HYBRID_ON_STOP there. An option of the command goes before both,
// the annotation before the environment.
const (
	KeyAttach    = "hybrid.attach"    // true: take over a core that a boot loader started
	KeyOnStop    = "hybrid.on-stop"   // what becomes of such a core: detach (default), stop
	KeyCoredump  = "hybrid.coredump"  // true: keep a dump of the core's memory after a crash
	KeyHeartbeat = "hybrid.heartbeat" // a duration: no output for so long is a crash
	KeyConsole   = "hybrid.console"   // what of the firmware is output: all (default), trace
)

// Values of KeyOnStop.
const (
	OnStopDetach = "detach"
	OnStopStop   = "stop"
)

// Values of KeyConsole. A terminal gives what firmware writes to one reader only: who
// talks to firmware over a ttyRPMSG wants the monitor to leave it alone.
const (
	ConsoleAll   = "all"   // trace buffers, and the terminals that firmware offers over rpmsg
	ConsoleTrace = "trace" // trace buffers
)

// coredumpFolder is where dumps are kept if it is not an option that asks for them:
// an image must not choose a folder. As many are kept at most, of all containers.
const (
	coredumpFolder = "var/lib/hybrid/coredumps"
	maxCoredumps   = 8
)

// minHeartbeat is the shortest heartbeat: output is looked for some times a second.
const minHeartbeat = 500 * time.Millisecond

// settings are what the options, annotations and environment of a container say.
type settings struct {
	attach    *claim.Attach
	coredump  string // folder; empty is no dumps
	maxDumps  int    // in that folder; 0 is any number
	heartbeat time.Duration
	traceOnly bool
	resource  string
}

// OptionError reports a value of CreateOptions that is none of those allowed.
type OptionError struct{ Option, Value, Want string }

func (e *OptionError) Error() string {
	return fmt.Sprintf("%s: %q: want %s", e.Option, e.Value, e.Want)
}

// refuse reports a value, by where it is from.
func refuse(from, value, want string) error {
	err := &OptionError{from, value, want}
	if strings.HasPrefix(from, "--") {
		return err
	}
	return errors.New(err.Error())
}

// settings reads the settings of a container.
func (r *Runtime) settings(o CreateOptions, fw *bundle.Firmware) (s settings, err error) {
	get := func(option, key string) (value, from string) {
		if option != "" {
			return option, "--" + strings.TrimPrefix(key, "hybrid.")
		}
		if v, ok := fw.Annotations[key]; ok {
			return v, "annotation " + key
		}
		variable := strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(key))
		for _, e := range fw.Env {
			if v, ok := strings.CutPrefix(e, variable+"="); ok {
				value, from = v, "environment variable "+variable // the last counts
			}
		}
		return value, from
	}
	yes := func(option bool, key string) (bool, error) {
		if option {
			return true, nil
		}
		switch v, from := get("", key); v {
		case "", "false":
			return false, nil
		case "true":
			return true, nil
		default:
			return false, refuse(from, v, "true or false")
		}
	}

	attach, err := yes(o.Attach, KeyAttach)
	if err != nil {
		return s, err
	}
	onStop, from := get(o.OnStop, KeyOnStop)
	switch onStop {
	case "", OnStopDetach, OnStopStop:
	default:
		return s, refuse(from, onStop, OnStopDetach+" or "+OnStopStop)
	}
	if onStop == OnStopStop && ofImage(from, fw) {
		return s, fmt.Errorf("%s: an image may not stop a core that a boot loader started: give the annotation %s, or --on-stop stop", from, KeyOnStop)
	}
	if attach {
		s.attach = &claim.Attach{Detach: onStop != OnStopStop}
	}

	switch v, from := get(o.Console, KeyConsole); v {
	case "", ConsoleAll:
	case ConsoleTrace:
		s.traceOnly = true
	default:
		return s, refuse(from, v, ConsoleAll+" or "+ConsoleTrace)
	}

	dump, err := yes(false, KeyCoredump)
	if err != nil {
		return s, err
	}
	switch {
	case o.Coredump != "":
		if s.coredump, err = filepath.Abs(o.Coredump); err != nil {
			return s, err
		}
	case dump:
		s.coredump, s.maxDumps = filepath.Join(r.Host.Root, coredumpFolder), maxCoredumps
	}

	if v, from := get(o.Heartbeat, KeyHeartbeat); v != "" {
		if s.heartbeat, err = time.ParseDuration(v); err != nil || s.heartbeat < minHeartbeat {
			return s, refuse(from, v, fmt.Sprintf("a duration of %v or more, as 5s", minHeartbeat))
		}
	}
	s.resource, _ = get("", claim.KeyResource)
	return s, nil
}

// ofImage reports whether an image may have said what is from there: the environment of
// a bundle is the image's and its user's, and nobody can tell which is whose. Without a
// bundle the annotations are the image's, too.
func ofImage(from string, fw *bundle.Firmware) bool {
	return strings.HasPrefix(from, "environment ") || (fw.Spec == nil && strings.HasPrefix(from, "annotation "))
}
