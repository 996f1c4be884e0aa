package runtime

import (
	"errors"
	"io/fs"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/runtime/delegate"
)

// Entry is a container in a list: its state, and when it was created. As with runc the
// process is 0 in the list if there is none, and in the state it is left out.
type Entry struct {
	specs.State
	Pid     int       `json:"pid"`
	Created time.Time `json:"created"`
}

// List returns the containers of the root folder by ID. A folder that cannot be
// read as a container is listed with an empty status: it is there, and delete
// --force removes it. Containers of another runtime with the same root are not listed.
func (r *Runtime) List() ([]Entry, error) {
	r.sweep()
	entries, err := os.ReadDir(r.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, e := range entries {
		if !e.IsDir() || checkID(e.Name()) != nil {
			continue
		}
		c, err := r.load(e.Name())
		switch {
		case errors.Is(err, ErrNotExist) && !exists(r.dir(e.Name())):
			continue // deleted since the folder was read
		case err != nil && delegate.Has(r.dir(e.Name())):
			continue
		case err != nil:
			list = append(list, Entry{State: specs.State{ID: e.Name()}})
		default:
			s := c.state()
			list = append(list, Entry{*s, s.Pid, c.Created})
		}
	}
	return list, nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
