package deviceplugin

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/runtime/claim"
)

// resource answers the kubelet about one kind of core.
type resource struct {
	api.UnimplementedDevicePluginServer
	name string

	mu      sync.Mutex
	devices []device
	changed chan struct{} // closed when devices change
}

func newResource(name string) *resource {
	return &resource{name: name, changed: make(chan struct{})}
}

// set replaces the devices, and reports whether that was a change.
func (r *resource) set(devices []device) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Equal(devices, r.devices) {
		return false
	}
	r.devices = devices
	close(r.changed)
	r.changed = make(chan struct{})
	return true
}

func (r *resource) get() ([]device, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.devices, r.changed
}

// GetDevicePluginOptions has nothing to ask for.
func (r *resource) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch sends all devices now and whenever they change. Without devices the
// list is empty, and the node has none of the resource.
func (r *resource) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	for {
		devices, changed := r.get()
		list := &api.ListAndWatchResponse{}
		for _, d := range devices {
			health := api.Healthy
			if d.trouble != "" {
				health = api.Unhealthy
			}
			list.Devices = append(list.Devices, &api.Device{ID: d.id, Health: health})
		}
		if err := stream.Send(list); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// Allocate tells the runtime which processor a container has. The environment is what
// every engine hands on, and there it comes behind the image's own. The annotations
// reach it where the engine is told to pass them, and go before any environment.
func (r *resource) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	devices, _ := r.get()
	answer := &api.AllocateResponse{}
	for _, c := range request.ContainerRequests {
		if len(c.DevicesIds) != 1 {
			return nil, status.Errorf(codes.InvalidArgument, "a container is firmware on one processor: ask for %s: 1, not %d", r.name, len(c.DevicesIds))
		}
		id := c.DevicesIds[0]
		// one in trouble is not refused: that would end the pod, and the runtime says it better
		if !slices.ContainsFunc(devices, func(d device) bool { return d.id == id }) {
			return nil, status.Errorf(codes.NotFound, "%s: there is no processor %s any more", r.name, id)
		}
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{
			Envs:        map[string]string{image.EnvProcessor: id, claim.EnvResource: r.name},
			Annotations: map[string]string{image.KeyProcessor: id, claim.KeyResource: r.name},
		})
	}
	return answer, nil
}

// news says what is new about a resource, for the log.
func news(name string, before, now []device) []string {
	var lines []string
	for _, d := range now {
		i := slices.IndexFunc(before, func(b device) bool { return b.id == d.id })
		switch {
		case i >= 0 && before[i] == d:
		case d.trouble != "":
			lines = append(lines, fmt.Sprintf("%s %s (%s): unhealthy: %s", name, d.id, d.instance, d.trouble))
		default:
			lines = append(lines, fmt.Sprintf("%s %s (%s): healthy", name, d.id, d.instance))
		}
	}
	for _, b := range before {
		if !slices.ContainsFunc(now, func(d device) bool { return d.id == b.id }) {
			lines = append(lines, fmt.Sprintf("%s %s (%s): gone", name, b.id, b.instance))
		}
	}
	return lines
}
