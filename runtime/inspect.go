package runtime

import (
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/runtime/monitor"
)

// Inspection is all that is known of a container.
type Inspection struct {
	specs.State
	Created   time.Time          `json:"created"`
	Board     string             `json:"board"`
	MCU       string             `json:"mcu"`
	Digest    string             `json:"firmware"` // sha256:… of the ELF file
	Processor InspectedProcessor `json:"processor"`
	Exit      *monitor.Exit      `json:"exit,omitempty"` // of a stopped container, if known
	Log       string             `json:"log"`            // file of its output, see monitor.ConsoleLog
}

// InspectedProcessor is a processor as the kernel shows it now; fields are empty if
// it is gone.
type InspectedProcessor struct {
	Instance string `json:"instance"`
	Name     string `json:"name,omitempty"`
	State    string `json:"state,omitempty"`
	Firmware string `json:"firmware,omitempty"` // the attribute
	Recovery *bool  `json:"recovery,omitempty"`
}

// Inspect returns all that is known of a container.
func (r *Runtime) Inspect(id string) (*Inspection, error) {
	r.sweep()
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	i := &Inspection{
		State: *c.state(), Created: c.Created, Board: c.Board, MCU: c.MCU, Digest: c.Digest, Exit: c.exit,
		Processor: InspectedProcessor{Instance: c.Processor, State: string(c.kernel)},
		Log:       filepath.Join(c.dir, monitor.ConsoleLog),
	}
	if p, err := r.Host.Processor(c.Processor); err == nil {
		i.Processor.Name = p.Name
		i.Processor.Firmware, _ = p.Firmware()
		if recovery, err := p.Recovery(); err == nil {
			i.Processor.Recovery = &recovery
		}
	}
	return i, nil
}
