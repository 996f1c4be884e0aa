package remoteproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CrashType is an argument of Crash: enum rproc_crash_type.
type CrashType int

// What a crash is reported as.
const (
	MMUFault CrashType = iota
	Watchdog
	FatalError
)

// Crash makes the kernel believe that the core crashed, for tests.
func (p *Processor) Crash(t CrashType) error {
	err := writeFile(filepath.Join(p.debug, "crash"), fmt.Sprint(int(t)))
	if err != nil {
		return p.attributeError("write", "crash", err)
	}
	return nil
}

// Trace opens the n-th trace buffer of the firmware, counted from 0 in the order
// of the resource table. It exists from start to stop; reading it gives the
// buffer as a C string, always from its beginning. Without it (no such trace, or
// no debugfs) the error wraps fs.ErrNotExist.
//
// The name is opened anew for every boot: an open file of the boot before reads as
// EIO for ever.
func (p *Processor) Trace(n int) (*os.File, error) {
	f, err := os.Open(filepath.Join(p.debug, fmt.Sprintf("trace%d", n)))
	if errors.Is(err, fs.ErrPermission) {
		// debugfs is root's alone; to anybody else the traces do not exist
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return f, err
}
