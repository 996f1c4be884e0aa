package monitor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// dumpSuffix ends the names of dumps.
const dumpSuffix = ".core"

// abandoned is how long nothing was added to a dump that nobody writes any more.
const abandoned = time.Minute

// saveDump lets the kernel make a dump of a crashed core, which it does on the way to
// a restart only, keeps it in a file, and says where that is.
func (m *monitor) saveDump() {
	before := m.processor.Dumps()
	if err := m.claim.Recover(); err != nil {
		m.console.say(fmt.Sprintf("no core dump: %v", err))
		return
	}
	// the dump is there when the restart is done
	for _, d := range m.processor.Dumps() {
		if slices.Contains(before, d) {
			continue
		}
		name, size, err := m.keepDump(d)
		if err != nil {
			m.console.say(fmt.Sprintf("no core dump: %v", err))
			return
		}
		m.console.say(fmt.Sprintf("core dump: %s (%d bytes)", name, size))
		return
	}
	m.console.say("no core dump: the kernel has made none (CONFIG_DEV_COREDUMP)")
}

// keepDump copies a dump to the folder, where it is visible once it is whole and on
// the disk. Before its name is there too the kernel does not forget it.
func (m *monitor) keepDump(d remoteproc.Dump) (name string, size int64, err error) {
	if err := os.MkdirAll(m.config.Coredump, 0o700); err != nil {
		return "", 0, err
	}
	if m.config.MaxDumps > 0 {
		m.pruneDumps(m.config.MaxDumps - 1)
	}
	name = filepath.Join(m.config.Coredump, fmt.Sprintf("%s-%s%s", time.Now().UTC().Format("20060102T150405.000Z"), m.config.ID, dumpSuffix))
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	size, err = d.CopyTo(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return "", 0, err
	}
	if syncFolder(m.config.Coredump) == nil {
		_ = d.Free() // it goes by itself after a while
	}
	return name, size, nil
}

// syncFolder makes a name in a folder survive a loss of power.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// pruneDumps removes the oldest dumps of the folder, so that keep are left. Their
// names are in the order of their times. What was not written whole goes as well, once
// nobody can be writing it.
func (m *monitor) pruneDumps(keep int) {
	entries, err := os.ReadDir(m.config.Coredump)
	if err != nil {
		return
	}
	var dumps []string
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name(), dumpSuffix):
			dumps = append(dumps, e.Name())
		case strings.HasSuffix(e.Name(), dumpSuffix+".new"):
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
				os.Remove(filepath.Join(m.config.Coredump, e.Name()))
			}
		}
	}
	for _, n := range dumps[:max(len(dumps)-keep, 0)] {
		os.Remove(filepath.Join(m.config.Coredump, n))
	}
}
