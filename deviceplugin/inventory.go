// Package deviceplugin offers the remote processors of a board to Kubernetes: to the
// kubelet as devices, by its device plugin API, and to the scheduler as labels of the
// node.
//
// A resource is a kind of core, a device one processor. The kubelet counts them, so
// that a pod for which none is free waits, and chooses the one that a container gets;
// Allocate tells the runtime which. Everything is derived from the kernel and from the
// runtime's claims at each look, and the plugin keeps nothing on disk.
package deviceplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// Domain is the prefix of our resources and labels.
const Domain = "hybrid.dev/"

// maxID is the longest ID of a device that the API allows, in bytes.
const maxID = 63

// device is a processor that firmware may be put on.
type device struct {
	// id names the processor to the kubelet, which writes it down for longer than the
	// kernel keeps numbers, and to the runtime: see stableName.
	id       string
	instance string // remoteprocN now
	resource string // Domain and the kind of core
	trouble  string // why no container can have it; empty if one can
}

// inventory is what a board has.
type inventory struct {
	board   string // its name; empty if it is not known
	devices []device
}

// resources are the names of the resources, sorted.
func (i inventory) resources() []string {
	var names []string
	for _, d := range i.devices {
		if !slices.Contains(names, d.resource) {
			names = append(names, d.resource)
		}
	}
	slices.Sort(names)
	return names
}

// of are the devices of a resource.
func (i inventory) of(resource string) []device {
	var devices []device
	for _, d := range i.devices {
		if d.resource == resource {
			devices = append(devices, d)
		}
	}
	return devices
}

// resourceOf is the resource of a kind of core. Names that mean the same kind to the
// runtime are one resource: an image for a cortex-m4 runs on what a vendor calls M4F.
func resourceOf(mcu string) string { return Domain + board.KindOf(mcu) }

// look takes the inventory. A machine without a board or without processors has
// nothing to offer, which is no error: processors come with their drivers.
func look(host remoteproc.Host) (inventory, error) {
	identity, err := board.Identify(host.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return inventory{}, nil
	} else if err != nil {
		return inventory{}, err
	}
	found := inventory{board: identity.Name()}
	processors, err := host.Processors()
	if errors.Is(err, remoteproc.ErrNoProcessors) {
		return found, nil
	} else if err != nil {
		return inventory{}, err
	}
	claims := claim.NewStore(host)
	for _, p := range processors {
		core, ok := identity.Core(p.Compatible)
		if !ok {
			continue
		}
		d := device{id: stableName(p, processors), instance: p.Instance, resource: resourceOf(core.MCU)}
		d.trouble, err = examine(p, claims)
		if d.trouble != "" { // a container may have come or gone between two questions
			d.trouble, err = examine(p, claims)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // unbound since it was listed
		} else if err != nil {
			d.trouble = err.Error()
		}
		found.devices = append(found.devices, d)
	}
	return found, nil
}

// examine says why no container can have a processor.
func examine(p *remoteproc.Processor, claims *claim.Store) (string, error) {
	owner, err := claims.Owner(p.Instance)
	if err != nil {
		return "", err
	}
	state, err := p.State()
	if err != nil {
		return "", err
	}
	return trouble(state, owner), nil
}

// stableName is the name of a processor that survives a reboot, after which drivers
// may come up in another order: the kubelet gives a pod that lives on the device that
// it had. That is the name of its node in the device tree, with the address. Where
// another processor answers to the same name it is the number.
func stableName(p *remoteproc.Processor, all []*remoteproc.Processor) string {
	if p.Unit == "" || len(p.Unit) > maxID {
		return p.Instance
	}
	for _, other := range all {
		if other.Instance != p.Instance && other.Is(p.Unit) {
			return p.Instance
		}
	}
	return p.Unit
}

// trouble says why no container that the kubelet starts can have a processor, and is
// empty if one can, or has it.
//
// Unhealthy devices do not count as allocatable, so pods wait for them, and nothing
// happens to a pod that has one. That is what shall become of a processor that somebody
// else took, as docker run does: the kubelet would take it for free, and start a pod
// that fails. What it has allocated itself stays healthy whatever the firmware does: a
// crash is the container's end, and the next start finds the processor put back, as it
// does when a container's monitor has died.
func trouble(state remoteproc.State, owner claim.Owner) string {
	switch {
	case owner.Resource != "", owner.Dead:
		return ""
	case owner.ID != "":
		return fmt.Sprintf("container %s of %s has it, which did not ask Kubernetes", owner.ID, owner.Root)
	}
	switch state {
	case remoteproc.Offline, remoteproc.Detached: // detached: a pod may take it over
		return ""
	}
	return fmt.Sprintf("it is %s, and no container started it", state)
}
