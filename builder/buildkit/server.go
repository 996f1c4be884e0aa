package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/gofrs/flock"
	"github.com/moby/buildkit/cache/remotecache"
	inlinecache "github.com/moby/buildkit/cache/remotecache/inline"
	localcache "github.com/moby/buildkit/cache/remotecache/local"
	registrycache "github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/moby/buildkit/util/grpcerrors"
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto" // the codec that buildkitd uses
	"github.com/moby/buildkit/util/tracing/detect"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker"
	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

const (
	// cacheMax and cacheKeep bound the state folder in bytes: above the first,
	// what was not used for longest is dropped, but never below the second.
	cacheMax  = 20 << 30
	cacheKeep = 2 << 30
	// stopGrace is how long Close waits for cancelled builds to end their
	// processes. runc kills within milliseconds; more means that it hangs.
	stopGrace = 10 * time.Second
	// pipeSize is the buffer of the connection in memory, in bytes: a layer of
	// firmware fits.
	pipeSize = 1 << 20
)

// ErrNeedsRunc reports that there is no runc for the embedded BuildKit.
var ErrNeedsRunc = errors.New("the embedded BuildKit needs runc in PATH: " +
	"install it (apt-get install runc), or set BUILDKIT_HOST to the address of a running BuildKit")

func findRunc() (string, error) {
	name, err := exec.LookPath("runc")
	if err != nil {
		return "", ErrNeedsRunc
	}
	return name, nil
}

// server is a BuildKit in this process.
type server struct {
	rpc     *grpc.Server
	serving errgroup.Group
	pipe    *bufconn.Listener // for this process alone
	// closers undo what start did, last first
	closers []func() error
}

func (s *server) onClose(f func() error) { s.closers = append(s.closers, f) }

// Close stops the server; builds in progress are cancelled.
func (s *server) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// startServer starts a BuildKit that keeps its state in dir, which lock holds. It is
// reached through s.pipe.
func startServer(dir, runcPath string, lock *flock.Flock, options ...grpc.ServerOption) (_ *server, err error) {
	s := &server{pipe: bufconn.Listen(pipeSize)}
	if err := keepRuncApart(); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	s.onClose(lock.Unlock)

	controller, err := s.newController(dir, runcPath)
	if err != nil {
		return nil, fmt.Errorf("embedded BuildKit in %s: %w", dir, err)
	}

	s.rpc = grpc.NewServer(append(options,
		grpc.UnaryInterceptor(grpcerrors.UnaryServerInterceptor),
		grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		// else a build that Stop cancels may outlive its controller
		grpc.WaitForHandlers(true),
	)...)
	controller.Register(s.rpc)
	s.onClose(func() error {
		stopped := make(chan struct{})
		go func() { s.rpc.GracefulStop(); close(stopped) }()
		select {
		case <-stopped:
		case <-time.After(stopGrace):
			s.rpc.Stop()
			<-stopped
		}
		return s.serving.Wait()
	})
	s.serve(s.pipe)
	return s, nil
}

// serve answers those who connect to l, and closes it with s.
func (s *server) serve(l net.Listener) {
	s.serving.Go(func() error {
		if err := s.rpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil
	})
}

// newController makes BuildKit's controller with one worker, and arranges for
// both to be closed with s.
func (s *server) newController(dir, runcPath string) (_ *control.Controller, err error) {
	if detect.Recorder == nil { // else every build warns that there is no recorder
		detect.Recorder = detect.NewTraceRecorder()
	}
	if v := moduleVersion(); version.Version != v { // else it says v0.0.0+unknown of itself
		version.Version = v
	}
	var opened []func() error // what the controller will close once it exists
	defer func() {
		if err == nil {
			return
		}
		for _, f := range opened {
			err = errors.Join(err, f())
		}
	}()

	sessions, err := session.NewManager()
	if err != nil {
		return nil, err
	}
	hosts := RegistryHosts()
	w, err := s.newWorker(dir, runcPath)
	if err != nil {
		return nil, err
	}
	workers := &worker.Controller{}
	opened = append(opened, workers.Close)
	if err := workers.Add(w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	cache, err := bboltcachestorage.NewStore(filepath.Join(dir, "cache.db"))
	if err != nil {
		return nil, err
	}
	opened = append(opened, cache.Close)
	history, err := boltutil.SafeOpen(filepath.Join(dir, "history.db"), 0o600,
		&bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	opened = append(opened, history.Close)

	stopping, stop := context.WithCancel(context.Background())
	opened = append(opened, func() error { stop(); return nil })
	controller, err := control.NewController(control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends: map[string]frontend.Frontend{
			"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), dockerfile.Build),
		},
		CacheManager: solver.NewCacheManager(context.Background(), "local", cache, worker.NewCacheResultStorage(workers)),
		ResolveCacheExporterFuncs: map[string]remotecache.ResolveCacheExporterFunc{
			"registry": registrycache.ResolveCacheExporterFunc(sessions, hosts),
			"local":    localcache.ResolveCacheExporterFunc(sessions),
			"inline":   inlinecache.ResolveCacheExporterFunc(),
		},
		ResolveCacheImporterFuncs: map[string]remotecache.ResolveCacheImporterFunc{
			"registry": registrycache.ResolveCacheImporterFunc(sessions, w.ContentStore(), hosts),
			"local":    localcache.ResolveCacheImporterFunc(sessions),
		},
		// this machine's user asks, who is root where it matters; --allow is asked too
		Entitlements: []string{
			entitlements.EntitlementNetworkHost.String(), entitlements.EntitlementSecurityInsecure.String(), entitlements.EntitlementDevice.String(),
		},
		HistoryDB:      history,
		CacheStore:     cache,
		LeaseManager:   w.LeaseManager(),
		ContentStore:   w.ContentStore(),
		GarbageCollect: w.GarbageCollect,
		GracefulStop:   stopping.Done(),
	})
	if err != nil {
		return nil, err
	}
	s.onClose(controller.Close) // closes worker, cache and history too
	s.onClose(func() error { stop(); return nil })
	return controller, nil
}

// moduleVersion is the version of BuildKit that this binary was built with.
func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/moby/buildkit" {
				return m.Version
			}
		}
	}
	return "unknown"
}
