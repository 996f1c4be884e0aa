package runtime

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/runtime/bundle"
	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// machine is what targets are matched against: the board, and its processors.
type machine struct {
	identity   board.Identity
	processors []*remoteproc.Processor
}

func (r *Runtime) machine() (*machine, error) {
	processors, err := r.Host.Processors()
	if err != nil {
		return nil, err
	}
	// a system without a device tree has no board that an image could be made for
	identity, err := board.Identify(r.Host.Root)
	if err != nil {
		return nil, err
	}
	if r.Warn != nil {
		for _, problem := range identity.Problems() {
			r.Warn(problem)
		}
	}
	return &machine{identity, processors}, nil
}

// fit is a processor that a target may run on.
type fit struct {
	processor *remoteproc.Processor
	core      board.Core
}

// String says what is here.
func (m *machine) String() string { return fmt.Sprintf("%s with %s", m.identity, m.describe()) }

// host is a machine as images see it that may be put on one processor alone.
type host struct {
	*machine
	processor string // empty: on any
}

// Fits is bundle.Host's. An image that says nothing of its target fits nowhere.
func (h host) Fits(t image.Target) (distance int, err error) {
	if t.Board == "" && t.MCU == "" {
		return 0, errors.New("it does not say which board and core it is for: annotations board and mcu (hybrid build writes them)")
	}
	if h.processor != "" {
		t.Processor = h.processor
	}
	if _, err := h.fits(t); err != nil {
		return 0, err
	}
	return h.identity.Distance(t.Board)
}

// fits returns the processors that a target may run on. The board must match, the
// kind of core must match, and a pin chooses among those: it never overrides them.
func (m *machine) fits(t image.Target) ([]fit, error) {
	if t.Board != "" {
		if err := m.identity.Fits(t.Board); err != nil {
			return nil, err
		}
	}
	var cores, pinned []fit
	for _, p := range m.processors {
		core, ok := m.identity.Core(p.Compatible)
		if !ok || (t.MCU != "" && !board.SameMCU(core.MCU, t.MCU)) {
			continue
		}
		cores = append(cores, fit{p, core})
		if t.Processor == "" || p.Is(t.Processor) {
			pinned = append(pinned, fit{p, core})
		}
	}
	switch {
	case len(pinned) > 0:
		return pinned, nil
	case len(cores) > 0:
		return nil, &bundle.PinError{Want: t.Processor, Fits: names(cores)}
	case t.MCU != "":
		return nil, fmt.Errorf("core %s wanted, this is %s", t.MCU, m)
	}
	return nil, fmt.Errorf("this is %s: no core that firmware may be put on", m)
}

func names(fits []fit) []string {
	var s []string
	for _, f := range fits {
		s = append(s, f.processor.String())
	}
	return s
}

// describe lists the processors by kind of core.
func (m *machine) describe() string {
	var s []string
	for _, p := range m.processors {
		kind := "a core that is not hybrid's to use"
		if core, ok := m.identity.Core(p.Compatible); ok {
			kind = core.MCU
		}
		s = append(s, fmt.Sprintf("%s: %s", p, kind))
	}
	return strings.Join(s, ", ")
}

// take claims the first processor that is free, of those that fit the target and
// can run the firmware. Of several that cannot be had the first is reported.
func (r *Runtime) take(m *machine, fw *bundle.Firmware, id string, s settings) (*claim.Claim, board.Core, error) {
	fits, err := m.fits(fw.Target)
	if err != nil {
		return nil, board.Core{}, fmt.Errorf("%s: %w", fw.Name, err)
	}
	var refused, unavailable error
	for _, f := range fits {
		if s.attach == nil {
			if err := runs(fw, f.core); err != nil {
				refused = first(refused, err)
				continue
			}
		}
		c, err := r.claims().Take(f.processor, r.holder(id), s.resource, s.attach)
		if err == nil {
			return c, f.core, nil
		}
		unavailable = first(unavailable, err)
	}
	return nil, board.Core{}, first(unavailable, refused)
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// runs refuses what the core cannot run, before anything is touched.
func runs(fw *bundle.Firmware, core board.Core) error {
	for _, finding := range fw.ELF.Check(core) {
		if finding.Fatal {
			return fmt.Errorf("%s: %s", fw.Name, finding.Message)
		}
	}
	return nil
}
