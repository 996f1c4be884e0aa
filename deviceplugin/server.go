package deviceplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// kubeletSocket is the kubelet's, in the folder of its device plugins.
const kubeletSocket = "kubelet.sock"

// registerTime bounds a registration.
const registerTime = 10 * time.Second

// server is one registration of a resource with one kubelet: a socket, and what
// answers there. It is not used again: the kubelet drops what it knows of a resource
// when it hears of it anew, and its goodbye to the old must not be taken for one to
// the new.
type server struct {
	name    string // of the socket
	socket  file
	kubelet file
	grpc    *grpc.Server
	ended   atomic.Bool // the kubelet has let go of it
	closed  chan struct{}
}

// socketName is where a resource is served.
func socketName(dir, resource string) string {
	return filepath.Join(dir, strings.ReplaceAll(resource, "/", "_")+".sock")
}

// listen serves a resource, in the place of what is there. wake is called when the
// kubelet lets go of it.
func listen(dir string, r *resource, wake func()) (*server, error) {
	s := &server{name: socketName(dir, r.name), closed: make(chan struct{})}
	if err := os.Remove(s.name); err != nil && !errors.Is(err, fs.ErrNotExist) { // a killed plugin's
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it may be another one by then
	s.socket = fileOf(s.name)
	s.grpc = grpc.NewServer(grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		defer func() { s.ended.Store(true); wake() }()
		return handle(srv, stream)
	}))
	api.RegisterDevicePluginServer(s.grpc, r)
	go func() {
		defer close(s.closed)
		_ = s.grpc.Serve(l) // ends with close
	}()
	return s, nil
}

// kubeletOf is the kubelet's socket that is there now.
func kubeletOf(dir string) file { return fileOf(filepath.Join(dir, kubeletSocket)) }

// answers reports whether a kubelet is there: one that was killed leaves its socket.
func answers(dir string) error {
	conn, err := net.Dial("unix", filepath.Join(dir, kubeletSocket))
	if err != nil {
		return fmt.Errorf("the kubelet: %w", err)
	}
	return conn.Close()
}

// register tells the kubelet of the resource. It asks back before it answers.
func (s *server) register(ctx context.Context, dir, resource string) error {
	s.kubelet = kubeletOf(dir) // before it is asked: it may be another one after
	conn, err := grpc.NewClient("unix:"+filepath.Join(dir, kubeletSocket), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	_, err = api.NewRegistrationClient(conn).Register(ctx, &api.RegisterRequest{
		Version: api.Version, Endpoint: filepath.Base(s.name), ResourceName: resource, Options: &api.DevicePluginOptions{},
	})
	if err != nil {
		return fmt.Errorf("register %s with the kubelet: %w", resource, err)
	}
	return nil
}

// good reports whether the kubelet that is there now has the resource from this server.
func (s *server) good(dir string) bool {
	return !s.ended.Load() && fileOf(s.name) == s.socket && kubeletOf(dir) == s.kubelet
}

// close ends it, and removes its socket.
func (s *server) close() {
	s.grpc.Stop()
	<-s.closed
	if fileOf(s.name) == s.socket {
		_ = os.Remove(s.name)
	}
}
