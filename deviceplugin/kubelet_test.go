package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// kubelet is what a kubelet is to a device plugin: it takes registrations, asks back,
// and follows the devices.
type kubelet struct {
	api.UnimplementedRegistrationServer
	t      *testing.T
	dir    string
	server *grpc.Server
	ctx    context.Context
	stop   context.CancelFunc
	all    sync.WaitGroup

	mu        sync.Mutex
	refuse    error
	registers int
	endpoints map[string]*endpoint
}

// endpoint is a resource that is registered.
type endpoint struct {
	client  api.DevicePluginClient
	devices string // as ID=HEALTH, sorted by the plugin
	lists   int
	cancel  context.CancelFunc
}

// startKubelet starts one as the real one starts: it removes whatever is in the folder.
func startKubelet(t *testing.T, dir string) *kubelet {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	k := &kubelet{t: t, dir: dir, server: grpc.NewServer(), endpoints: map[string]*endpoint{}}
	k.ctx, k.stop = context.WithCancel(context.Background())
	api.RegisterRegistrationServer(k.server, k)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, kubeletSocket), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // it stays, as after a kill
	k.all.Go(func() { _ = k.server.Serve(l) })
	t.Cleanup(k.end)
	return k
}

func (k *kubelet) end() {
	k.stop()
	k.server.Stop()
	k.all.Wait()
}

func (k *kubelet) Register(_ context.Context, r *api.RegisterRequest) (*api.Empty, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.registers++
	if k.refuse != nil {
		return nil, k.refuse
	}
	if r.Version != api.Version || filepath.Base(r.Endpoint) != r.Endpoint {
		return nil, fmt.Errorf("bad registration %v", r)
	}
	if old := k.endpoints[r.ResourceName]; old != nil {
		old.cancel()
	}
	conn, err := grpc.NewClient("unix:"+filepath.Join(k.dir, r.Endpoint), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	e := &endpoint{client: api.NewDevicePluginClient(conn)}
	if _, err := e.client.GetDevicePluginOptions(k.ctx, &api.Empty{}); err != nil { // before it answers
		conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(k.ctx)
	e.cancel = cancel
	k.endpoints[r.ResourceName] = e
	k.all.Go(func() {
		defer conn.Close()
		defer cancel()
		stream, err := e.client.ListAndWatch(ctx, &api.Empty{})
		for err == nil {
			var list *api.ListAndWatchResponse
			if list, err = stream.Recv(); err != nil {
				break
			}
			var devices []string
			for _, d := range list.Devices {
				devices = append(devices, d.ID+"="+d.Health)
			}
			k.mu.Lock()
			e.devices = strings.Join(devices, " ")
			e.lists++
			k.mu.Unlock()
		}
		k.mu.Lock()
		if k.endpoints[r.ResourceName] == e {
			delete(k.endpoints, r.ResourceName)
		}
		k.mu.Unlock()
	})
	return &api.Empty{}, nil
}

// want waits for a resource to have these devices.
func (k *kubelet) want(resource, devices string) {
	k.t.Helper()
	eventually(k.t, func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		e := k.endpoints[resource]
		switch {
		case e == nil:
			return fmt.Errorf("%s is not registered, but %v", resource, maps.Keys(k.endpoints))
		case e.lists == 0 || e.devices != devices:
			return fmt.Errorf("%s has %q, want %q", resource, e.devices, devices)
		}
		return nil
	})
}

// count are the registrations so far, and the lists of a resource.
func (k *kubelet) count(resource string) (registers, lists int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.endpoints[resource]; e != nil {
		lists = e.lists
	}
	return k.registers, lists
}

// wantRegistered wants so many registrations, soon.
func (k *kubelet) wantRegistered(resource string, want int) {
	k.t.Helper()
	eventually(k.t, func() error {
		if registers, _ := k.count(resource); registers != want {
			return fmt.Errorf("%d registrations, want %d", registers, want)
		}
		return nil
	})
}

func (k *kubelet) allocate(resource string, ids ...string) (*api.ContainerAllocateResponse, error) {
	k.mu.Lock()
	e := k.endpoints[resource]
	k.mu.Unlock()
	r, err := e.client.Allocate(k.ctx, &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: ids}}})
	if err != nil {
		return nil, err
	}
	return r.ContainerResponses[0], nil
}

func eventually(t *testing.T, f func() error) {
	t.Helper()
	err := f()
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		err = f()
	}
	if err != nil {
		t.Fatal(err)
	}
}
