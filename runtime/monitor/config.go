package monitor

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Argv0 is the first argument by which a program of ours is the monitor.
const Argv0 = "hybrid-monitor"

// Descriptors that a monitor inherits, besides the container's standard ones.
const (
	ClaimFD     = 3 // the lock of the claim on the processor
	HandshakeFD = 4 // a stream socket to create
	StartFD     = 5 // the listening socket that start connects to
)

// The handshake between create and the monitor. create sends a Config; the monitor
// answers Ready, or an error as text; create makes the container visible and sends
// Commit. If the socket ends before Commit, create died: the monitor undoes
// everything. So at every moment one of the two cleans up.
const (
	Ready  = "ready\n"
	Commit = "commit\n"
)

// KillSignal asks a monitor for what SIGKILL does to other processes: it stops the
// processor, puts it back, and then dies of SIGKILL by its own hand. Killed from
// outside it could not; frozen while somebody else stops the processor, it would
// stay frozen when that somebody is killed. It is a real-time signal, none that
// people send.
const KillSignal = unix.Signal(36)

// Config is what a monitor needs to know.
type Config struct {
	ID        string `json:"id"`
	Dir       string `json:"dir"`     // the container's folder, once it is visible
	Sysroot   string `json:"sysroot"` // of remoteproc.Host
	Processor string `json:"processor"`
	// Coredump is the folder in which a dump of the core's memory is kept after a
	// crash; empty is none. MaxDumps bounds how many are kept there; 0 does not.
	Coredump string `json:"coredump,omitempty"`
	MaxDumps int    `json:"maxDumps,omitempty"`
	// Heartbeat is the time without output that counts as a crash; 0 is none.
	Heartbeat time.Duration `json:"heartbeat,omitempty"`
	// RPMsg says that the firmware may offer terminals.
	RPMsg bool `json:"rpmsg,omitempty"`
}

// Exit codes of a container, as its engine sees them.
const (
	ExitStopped   = 0   // stopped on request
	ExitNotBooted = 1   // start failed, and said why
	ExitKilled    = 137 // SIGKILL
	ExitCrashed   = 139 // the firmware crashed
	ExitTaken     = 143 // somebody else stopped the processor
)

// Exit is how a container ended.
type Exit struct {
	Code   int       `json:"code"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

const exitFile = "exit.json"

// WriteExit records, in the container's folder, how it ended. The first record
// counts; a folder that is gone is no error.
func WriteExit(dir string, e Exit) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, exitFile+".*")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), filepath.Join(dir, exitFile)); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// ReadExit returns how the container ended. Without a record the error wraps
// fs.ErrNotExist.
func ReadExit(dir string) (Exit, error) {
	var e Exit
	b, err := os.ReadFile(filepath.Join(dir, exitFile))
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(b, &e)
}
