package deviceplugin

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"

	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// watch wakes when something may have changed: the kubelet's socket or ours, a claim,
// or somebody has written to a processor's state. It says no more than that: what is
// is looked at. What the kernel does by itself wakes nobody (a crash, a driver that
// comes), and is seen at the next look.
type watch struct {
	w    *fsnotify.Watcher
	host remoteproc.Host
}

// newWatch watches the folder of the kubelet's device plugins, which must be there.
func newWatch(dir string, host remoteproc.Host) (*watch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(dir); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &watch{w, host}, nil
}

// follow watches the claims and the processors that are there now, and reports whether
// one was not watched before: what happened to it until now was not seen. What is gone
// is forgotten by itself.
func (w *watch) follow(devices []device) (anew bool) {
	watched := w.w.WatchList()
	add := func(name string) error {
		err := w.w.Add(name)
		anew = anew || err == nil && !slices.Contains(watched, name)
		return err
	}
	claims := claim.NewStore(w.host).Dir()
	if add(claims) != nil {
		_ = add(filepath.Dir(claims)) // until the first container makes it
	}
	for _, d := range devices {
		_ = add(filepath.Join(w.host.Root, "sys/class/remoteproc", d.instance, "state"))
	}
	return anew
}

// drain forgets what has happened so far.
func (w *watch) drain() {
	for {
		select {
		case <-w.w.Events:
		default:
			return
		}
	}
}

func (w *watch) close() { _ = w.w.Close() }
