package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/runtime/cgroup"
)

// Delete removes a stopped container. With force one that is not stopped is killed
// first, and one that is not there, or cannot be read, is no error; what is on disk
// is then removed even if the processor cannot be stopped, which is still an error. A
// container whose monitor is known to live stays.
func (r *Runtime) Delete(id string, force bool) error {
	if err := checkID(id); err != nil {
		return err
	}
	r.sweep()
	// what is looked at must be what is removed, and not the next one of this name
	lock, err := lockFolder(r.dir(id), 0)
	if errors.Is(err, fs.ErrNotExist) {
		if force {
			return nil
		}
		return r.notExist(id)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	c, err := r.load(id)
	if err != nil {
		if force {
			return r.deleteUnread(id)
		}
		return err
	}
	if c.status != specs.StateStopped && !force && exists(filepath.Join(c.dir, stopFile)) {
		if err := c.wait(deathTimeout); err != nil {
			return err
		}
		r.derive(c)
	}
	if c.status != specs.StateStopped && !force {
		return fmt.Errorf("cannot delete container %s: it is %s (hybrid-runtime kill %s, or delete --force)", id, c.status, id)
	}
	err = r.end(c, force)
	if err == nil {
		err = r.reclaim(c)
	}
	switch {
	case err != nil:
	case force:
		err = cgroup.Kill(c.Cgroup) // who else entered it
	default:
		err = cgroup.Remove(c.Cgroup, cgroupTimeout)
	}
	if unseen := (*unseenError)(nil); err != nil && (!force || errors.As(err, &unseen)) {
		return err
	}
	return errors.Join(err, r.remove(id))
}

// deleteUnread removes a container whose record cannot be read. Its claim says which
// processor it has, and who watches it.
func (r *Runtime) deleteUnread(id string) error {
	c := &container{dir: r.dir(id)}
	c.ID = id
	c.Processor, c.Monitor = r.claims().HeldBy(r.holder(id))
	if c.Processor == "" {
		return r.remove(id)
	}
	err := r.kill(c)
	if unseen := (*unseenError)(nil); errors.As(err, &unseen) {
		return err
	}
	return errors.Join(err, r.remove(id))
}

// end waits for the monitor of a stopped container, which has seen the end of the
// firmware or is about to; with force it is killed.
func (r *Runtime) end(c *container, force bool) error {
	if !c.monitor {
		return nil
	}
	if force && c.status != specs.StateStopped {
		return r.kill(c)
	}
	err := c.wait(deathTimeout)
	if err != nil && force {
		return r.kill(c)
	}
	return err
}

// wait waits for the end of the monitor.
func (c *container) wait(timeout time.Duration) error {
	h, err := c.Monitor.Open()
	if err != nil {
		return nil // it has ended meanwhile
	}
	defer h.Close()
	if !h.Wait(timeout) {
		return fmt.Errorf("cannot delete container %s: its monitor (process %d) has not ended (delete --force)", c.ID, c.Monitor.PID)
	}
	return nil
}
