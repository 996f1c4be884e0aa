package claim

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/process"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// Listed is a claim as it is.
type Listed struct {
	Instance string // of the processor
	Holder   Holder
	Monitor  process.Identity // zero before it has taken over
	// Dead says that nobody holds it any more: the next Sweep undoes it.
	Dead bool
}

// listTimeout is how long List waits for somebody who changes claims.
const listTimeout = time.Second

// List lists the claims, and undoes nothing.
func (s *Store) List() ([]Listed, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Listed
	for _, e := range entries {
		instance, found := strings.CutSuffix(e.Name(), "."+savedRecord)
		if !found {
			continue
		}
		r, err := s.read(&remoteproc.Processor{Instance: instance})
		if err != nil {
			return nil, err
		}
		if r.Holder == (Holder{}) {
			continue // given back since the folder was read
		}
		list = append(list, Listed{instance, r.Holder, r.Monitor, !r.Monitor.Alive() && s.free(instance)})
	}
	return list, nil
}

// free reports whether the lock of a processor can be had. While somebody else changes
// claims it does not tell, and is false.
func (s *Store) free(instance string) bool {
	for deadline := time.Now().Add(listTimeout); ; time.Sleep(5 * time.Millisecond) {
		unlock, err := s.lockFile("claims.lock", unix.LOCK_NB)
		if err != nil {
			if errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(deadline) {
				continue
			}
			return false
		}
		defer unlock()
		f, err := os.Open(filepath.Join(s.dir, instance+".lock"))
		if err != nil {
			return errors.Is(err, fs.ErrNotExist)
		}
		defer f.Close()
		return flock(f, unix.LOCK_EX|unix.LOCK_NB) == nil
	}
}
