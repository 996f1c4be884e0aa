package claim

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// KeyResource is the annotation, and EnvResource the environment variable, by which a
// container says what its processor was allocated as.
const (
	KeyResource = "hybrid.resource"
	EnvResource = "HYBRID_RESOURCE"
)

// Owner is who has a processor.
type Owner struct {
	Holder
	// Resource is what the processor was allocated as, by somebody who keeps account of
	// processors; empty for a container that was simply started.
	Resource string
	// Dead says that the holder has died: the next one puts the processor back, and has it.
	Dead bool
}

// Dir is the folder of the claims; it changes whenever a claim does.
func (s *Store) Dir() string { return s.dir }

// Owner is who has the processor with this instance name, the zero Owner if nobody
// has. Nothing is changed, so that it may be asked where the folder is read-only.
func (s *Store) Owner(instance string) (Owner, error) {
	p := &remoteproc.Processor{Instance: instance}
	if !exists(s.file(p, savedRecord)) { // mostly
		return Owner{}, nil
	}
	// whoever has this lock may be about to let go of the other one, which tells
	all, err := s.try("claims.lock", unix.LOCK_EX)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return Owner{}, err
	}
	r, rerr := s.read(p)
	if all != nil {
		defer all.Close()
	}
	if rerr != nil || r.Holder == (Holder{}) {
		return Owner{}, rerr
	}
	if all != nil { // else claims change hands now, and whoever does it is alive
		switch f, err := s.try(instance+".lock", unix.LOCK_SH); {
		case err == nil:
			f.Close()
			return Owner{r.Holder, r.Resource, true}, nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return Owner{}, err
		}
	}
	return Owner{r.Holder, r.Resource, false}, nil
}

// try takes a lock that is there, and waits for nobody.
func (s *Store) try(name string, how int) (*os.File, error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	if err := flock(f, how|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
