package main

import (
	"context"
	"fmt"

	api "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/pkg/shutdown"
	"github.com/containerd/containerd/plugin"
	"github.com/containerd/containerd/runtime/v2/runc/task"
	"github.com/containerd/containerd/runtime/v2/shim"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// service is the task service of the runc shim, told to run hybrid-runtime. It has
// to be told only once: what Create is told is kept in the bundle, for later calls
// and for whoever cleans up after a shim that was killed.
type service struct{ api.TaskService }

// Create creates a container.
func (s service) Create(ctx context.Context, r *api.CreateTaskRequest) (*api.CreateTaskResponse, error) {
	o, err := optionsOf(r.Options)
	if err != nil {
		return nil, errdefs.ToGRPC(fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err))
	}
	if o.BinaryName == "" {
		o.BinaryName = binary()
	}
	if r.Options, err = anypb.New(o); err != nil {
		return nil, err
	}
	return s.TaskService.Create(ctx, r)
}

// RegisterTTRPC makes it the service that the shim serves.
//
//nolint:unparam // shims want an error of their services
func (s service) RegisterTTRPC(server *ttrpc.Server) error {
	api.RegisterTaskService(server, s)
	return nil
}

// register registers the service under the name of the one of the runc shim.
func register() {
	plugin.Register(&plugin.Registration{
		Type:     plugin.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugin.EventPlugin, plugin.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			publisher, err := ic.GetByID(plugin.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			down, err := ic.GetByID(plugin.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			s, err := task.NewTaskService(ic.Context, publisher.(shim.Publisher), down.(shutdown.Service))
			if err != nil {
				return nil, err
			}
			return service{s}, nil
		},
	})
}
