package buildkit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/containerd/platforms"
	cachemetadata "github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/executor/resources"
	"github.com/moby/buildkit/executor/runcexecutor"
	snapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/worker/base"
	"github.com/moby/buildkit/worker/label"
	"github.com/moby/sys/userns"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
)

// namespace is that of the worker's content and leases in its database, as in
// buildkitd's.
const namespace = "buildkit"

// executorNetwork is the network of RUN steps, for labels: that of this machine, so
// that they reach what the user's own commands reach.
const executorNetwork = "host"

// nativeWorker is BuildKit's worker without the search for emulators of other
// machines, which starts ten programs: compilers run on this machine's processor. A
// step for another one still finds its emulator.
type nativeWorker struct{ *base.Worker }

func (w nativeWorker) Platforms(bool) []v1.Platform { return w.WorkerOpt.Platforms }

// newWorker makes the worker that runs steps with runc and keeps its state in dir, in
// the form of buildkitd's own (worker/runc): what one leaves the other can use. It
// leaves out what costs more time at each start than a whole build takes: the key
// pair for a proxy that nobody asks for.
func (s *server) newWorker(dir, runcPath string) (_ *nativeWorker, err error) {
	name, openSnapshots := snapshotter(dir)
	root := filepath.Join(dir, "runc-"+name)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	monitor, err := resources.NewMonitor()
	if err != nil {
		return nil, err
	}
	host := network.NewHostProvider()
	networks := map[pb.NetMode]network.Provider{pb.NetMode_UNSET: host, pb.NetMode_HOST: host, pb.NetMode_NONE: network.NewNoneProvider()}
	steps := filepath.Join(root, "executor")
	if err := removeKilled(context.Background(), steps, runcPath); err != nil {
		return nil, fmt.Errorf("steps of a killed build: %w", err)
	}
	executor, err := runcexecutor.New(runcexecutor.Opt{
		Root:              steps,
		CommandCandidates: []string{runcPath},
		Rootless:          userns.RunningInUserNS(),
		ProcessMode:       oci.ProcessSandbox,
		ResourceMonitor:   monitor,
	}, networks)
	if err != nil {
		return nil, err
	}
	// BuildKit's worker never closes its snapshotter, whose database would stay locked
	// until the process ends
	layers, err := openSnapshots(filepath.Join(root, "snapshots"))
	if err != nil {
		return nil, err
	}
	s.onClose(layers.Close)
	blobs, err := local.NewStore(filepath.Join(root, "content"))
	if err != nil {
		return nil, err
	}
	db, err := boltutil.Open(filepath.Join(root, "containerdmeta.db"), 0o644, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	contents := metadata.NewDB(db, blobs, map[string]snapshots.Snapshotter{name: layers})
	if err := contents.Init(context.Background()); err != nil {
		return nil, err
	}
	store := snapshot.NewContentStore(anew{contents.ContentStore()}, namespace)
	id, err := base.ID(root)
	if err != nil {
		return nil, err
	}
	refs, err := cachemetadata.NewStore(filepath.Join(root, "metadata_v2.db"))
	if err != nil {
		return nil, err
	}
	w, err := base.NewWorker(context.Background(), base.WorkerOpt{ // it outlives the call that starts it: Close ends it
		ID:   id,
		Root: root,
		Labels: map[string]string{
			label.Executor: "oci", label.Snapshotter: name, label.Network: executorNetwork, label.OCIProcessMode: oci.ProcessSandbox.String(),
		},
		Platforms:        []v1.Platform{platforms.Normalize(platforms.DefaultSpec())},
		GCPolicy:         []client.PruneInfo{{All: true, MaxUsedSpace: cacheMax, ReservedSpace: cacheKeep}},
		BuildkitVersion:  client.BuildkitVersion{Package: "github.com/moby/buildkit", Version: moduleVersion()},
		NetworkProviders: networks,
		Executor:         executor,
		Snapshotter:      snapshot.NewSnapshotter(name, contents.Snapshotter(name), namespace, nil),
		ContentStore:     store,
		Applier:          apply.NewFileSystemApplier(store),
		Differ:           walking.NewWalkingDiff(store),
		RegistryHosts:    RegistryHosts(),
		LeaseManager:     leaseutil.WithNamespace(metadata.NewLeaseManager(contents), namespace),
		GarbageCollect:   contents.GarbageCollect,
		MetadataStore:    refs,
		ContentMetadata:  db,
		MountPoolRoot:    filepath.Join(root, "cachemounts"),
		ResourceMonitor:  monitor,
	})
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	return &nativeWorker{w}, nil
}

// snapshotter is overlayfs where the file system of dir can do it, else copies. The
// check mounts and unmounts, 40 ms: a folder that was used with overlayfs before has
// passed it.
func snapshotter(dir string) (name string, open func(root string) (snapshots.Snapshotter, error)) {
	const overlayfs = "overlayfs"
	if _, err := os.Stat(filepath.Join(dir, "runc-"+overlayfs)); err != nil && overlayutils.Supported(dir) != nil {
		return "native", native.NewSnapshotter
	}
	return overlayfs, func(root string) (snapshots.Snapshotter, error) {
		return overlay.NewSnapshotter(root, overlay.AsynchronousRemove)
	}
}
