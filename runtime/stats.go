package runtime

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Event is what events prints, in runc's form as far as there is something to say:
// the usage is the monitor's, as Linux cannot see what firmware uses.
type Event struct {
	Type string `json:"type"` // stats
	ID   string `json:"id"`
	Data Stats  `json:"data"`
}

// Stats is the data of an Event. Times are in nanoseconds, memory in bytes.
type Stats struct {
	CPU struct {
		Usage struct {
			Total  uint64 `json:"total"`
			Kernel uint64 `json:"kernel"`
			User   uint64 `json:"user"`
		} `json:"usage"`
		Throttling struct{} `json:"throttling"`
	} `json:"cpu"`
	Memory struct {
		Usage struct {
			Usage uint64 `json:"usage"`
		} `json:"usage"`
	} `json:"memory"`
	PIDs struct {
		Current uint64 `json:"current"` // threads, as the pids controller counts them
	} `json:"pids"`
}

// Stats returns what the container's monitor has used. Of one that has stopped the
// error wraps ErrNotRunning.
func (r *Runtime) Stats(id string) (Event, error) {
	c, err := r.load(id)
	if err != nil {
		return Event{}, err
	}
	if c.status == specs.StateStopped {
		return Event{}, fmt.Errorf("no statistics of container %s: %w", id, ErrNotRunning)
	}
	u, err := c.Monitor.Usage()
	if err != nil {
		return Event{}, fmt.Errorf("no statistics of container %s: its monitor: %w", id, err)
	}
	e := Event{Type: "stats", ID: id}
	e.Data.CPU.Usage.User, e.Data.CPU.Usage.Kernel = uint64(u.User), uint64(u.Kernel)
	e.Data.CPU.Usage.Total = uint64(u.User + u.Kernel)
	e.Data.Memory.Usage.Usage = u.Resident
	e.Data.PIDs.Current = u.Threads
	return e, nil
}
