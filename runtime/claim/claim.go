// Package claim is the right to use a remote processor: taken by one container at
// a time, kept by a lock that dies with its holder, and given back with the
// processor stopped and its attributes as they were.
//
// A claim is a pair of files in a folder of tmpfs. The lock, remoteprocN.lock, is
// an empty file that is never removed; flock(2) on it belongs to the open file, so
// create hands it to the monitor by inheritance, without a moment in between, and
// the kernel releases it when the last of the two is gone. The record,
// remoteprocN.json, says what must be undone. It is written before the thing it
// speaks of is done and removed after it is undone, so a record whose lock is free
// is work that somebody died over: Sweep does it.
package claim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/runtime/process"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// Store is where the claims of a host are.
type Store struct {
	host remoteproc.Host
	dir  string
}

// NewStore returns the claims of the host. There is one store per host, whatever
// the root folders of the containers are: engines use several.
func NewStore(host remoteproc.Host) *Store {
	return &Store{host: host, dir: filepath.Join(host.Root, "/run/hybrid/processors")}
}

// Holder says who has a claim.
type Holder struct {
	ID   string `json:"id"`   // of the container
	Root string `json:"root"` // the folder of its engine's containers
}

// record is what must be undone when a claim ends.
type record struct {
	Holder
	// Firmware is the name of the staged file, relative to the search path.
	Firmware string `json:"firmware,omitempty"`
	// Folder is the search path that the file was staged under.
	Folder string `json:"folder,omitempty"`
	// Quiet makes the staged file one with which the core does nothing.
	Quiet []firmware.Patch `json:"quiet,omitempty"`
	// Resource is what the processor was allocated as: see Owner.
	Resource string `json:"resource,omitempty"`
	// Attached says that a boot loader started the core; it is detached in the end
	// if Detach, and else stopped.
	Attached bool `json:"attached,omitempty"`
	Detach   bool `json:"detach,omitempty"`
	// Monitor is the process that has the claim, once it has taken over.
	Monitor process.Identity `json:"monitor,omitzero"`
	// Saved are the attributes as they were; nil before they are touched.
	Saved *attributes `json:"saved,omitempty"`
}

// Attach says how a core is claimed that a boot loader started.
type Attach struct {
	// Detach lets the core go on by itself when the claim ends, instead of stopping it.
	Detach bool
}

// attributes are the settings of a processor that outlive its firmware.
type attributes struct {
	Firmware string `json:"firmware"`
	Recovery bool   `json:"recovery"`
	Coredump string `json:"coredump,omitempty"` // if it was touched
}

// BusyError reports a processor that cannot be claimed.
type BusyError struct {
	Processor *remoteproc.Processor
	Holder    Holder           // zero if no container holds it
	State     remoteproc.State // if no container holds it; empty if one is about to let go
}

func (e *BusyError) Error() string {
	switch {
	case e.Holder.ID != "":
		return fmt.Sprintf("remote processor %s is busy: container %s holds it (hybrid-runtime --root %s list)", e.Processor, e.Holder.ID, e.Holder.Root)
	case e.State == "":
		return fmt.Sprintf("remote processor %s is busy: its last container is about to end (try again)", e.Processor)
	case e.State == remoteproc.Detached: // from there only an attached one can be stopped
		return fmt.Sprintf("remote processor %s is busy: the boot loader started it (hybrid-runtime create --attach takes it over)", e.Processor)
	case e.State == remoteproc.Offline:
		return fmt.Sprintf("remote processor %s is offline: there is nothing to attach to, as the boot loader did not start it", e.Processor)
	default:
		return fmt.Sprintf("remote processor %s is busy: it is %s, and no container started it (echo stop > /sys/class/remoteproc/%s/state)",
			e.Processor, e.State, e.Processor.Instance)
	}
}

// Claim is a processor that is ours.
type Claim struct {
	Processor *remoteproc.Processor

	store  *Store
	lock   *os.File
	record record
}

// Take claims a processor for holder. What a dead holder left is undone first. A
// processor that somebody holds, or that is up without a holder, is a *BusyError. With
// attach it must be detached, that is, started by a boot loader, and else offline.
// resource is only kept: see Owner.
func (s *Store) Take(p *remoteproc.Processor, holder Holder, resource string, attach *Attach) (_ *Claim, err error) {
	unlock, err := s.lockFile("claims.lock", 0)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := s.lock(p)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.unlock()
		}
	}()
	if err := c.undo(); err != nil {
		return nil, leftBehind(p, err)
	}
	state, err := p.State()
	if err != nil {
		return nil, err
	}
	wanted := remoteproc.Offline
	c.record = record{Holder: holder, Resource: resource}
	if attach != nil {
		wanted, c.record.Attached, c.record.Detach = remoteproc.Detached, true, attach.Detach
	}
	if state != wanted {
		return nil, &BusyError{Processor: p, State: state}
	}
	if err := c.save(); err != nil {
		return nil, err
	}
	return c, nil
}

// lock takes the lock of a processor, and with it reads the record that may be
// there. The caller holds claims.lock, so whoever has the lock is a holder, not a
// sweep that is about to let go.
func (s *Store) lock(p *remoteproc.Processor) (*Claim, error) {
	f, err := os.OpenFile(s.file(p, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	// a holder removes its record a moment before it lets go
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		r, err := s.read(p)
		if err == nil && r.Holder == (Holder{}) && time.Now().Before(deadline) {
			continue
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		return nil, &BusyError{Processor: p, Holder: r.Holder}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	c := &Claim{Processor: p, store: s, lock: f}
	// a record that was being written when its writer was killed
	if err := os.Remove(s.file(p, newRecord)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.unlock()
		return nil, err
	}
	if c.record, err = s.read(p); err != nil {
		c.unlock()
		return nil, err
	}
	return c, nil
}

// File is the lock, to be inherited by the process that Inherit is called in.
func (c *Claim) File() *os.File { return c.lock }

// Attached reports whether a boot loader started the core.
func (c *Claim) Attached() bool { return c.record.Attached }

// Disown closes this process's hold of a claim that another one has inherited.
func (c *Claim) Disown() { c.unlock() }

// Inherit continues a claim whose lock was inherited as f.
func (s *Store) Inherit(p *remoteproc.Processor, f *os.File) (*Claim, error) {
	r, err := s.read(p)
	if err != nil {
		return nil, err
	}
	return &Claim{Processor: p, store: s, lock: f, record: r}, nil
}

// Configure points the processor at the staged firmware and switches the kernel's
// own crash recovery off: a crash must end the container, not pass by. With coredump
// the kernel makes a dump of the core's memory when it recovers from a crash.
func (c *Claim) Configure(coredump bool) error {
	saved := &attributes{}
	var err error
	if saved.Firmware, err = c.Processor.Firmware(); err != nil {
		return err
	}
	if saved.Recovery, err = c.Processor.Recovery(); err != nil {
		return err
	}
	if coredump {
		if saved.Coredump, err = c.Processor.Coredump(); err != nil {
			return err
		}
	}
	c.record.Saved = saved
	c.record.Monitor, _ = process.Of(os.Getpid()) // without /proc it is not known
	if err := c.save(); err != nil {
		return err
	}
	if !c.record.Attached {
		if err := c.Processor.SetFirmware(c.record.Firmware); err != nil {
			return err
		}
	}
	if coredump {
		if err := c.Processor.SetCoredump("enabled"); err != nil {
			return err
		}
	}
	return c.Processor.SetRecovery(false)
}

// Recover restarts a crashed core, with which the kernel makes a dump of its memory.
// The core is started with firmware that does nothing, where that could be made.
func (c *Claim) Recover() error {
	c.quieten()
	return c.Processor.Recover()
}

// quieten makes the staged file one with which the core does nothing. What fails
// here is not worth leaving a core as it is.
func (c *Claim) quieten() {
	if len(c.record.Quiet) == 0 || c.record.Firmware == "" {
		return
	}
	f, err := os.OpenFile(filepath.Join(c.record.Folder, c.record.Firmware), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	for _, p := range c.record.Quiet {
		_, _ = f.WriteAt(p.Bytes, p.Offset)
	}
}

// Release stops the processor, puts everything back as it was and ends the claim.
// After an error the claim is given up all the same, and its record stays: the
// next Sweep tries again.
func (c *Claim) Release() error {
	defer c.unlock()
	// another process may have gone on with the claim, and died
	if r, err := c.store.read(c.Processor); err == nil {
		c.record = r
	}
	return c.undo()
}

// undo does what the record says is to be undone, in the opposite order.
func (c *Claim) undo() error {
	if c.record.Holder == (Holder{}) {
		return nil
	}
	var stopped *NotDetachedError
	if c.record.Saved != nil {
		if err := c.restore(*c.record.Saved); err != nil && !errors.As(err, &stopped) {
			return err
		}
	}
	if err := c.unstage(); err != nil {
		return err
	}
	if err := os.Remove(c.store.file(c.Processor, savedRecord)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.record = record{}
	if stopped != nil {
		return stopped
	}
	return nil
}

// NotDetachedError reports a core that should have been left running and was
// stopped, as the driver refuses to detach it.
type NotDetachedError struct {
	Processor *remoteproc.Processor
	Err       error
}

func (e *NotDetachedError) Error() string {
	return fmt.Sprintf("%s was stopped: it cannot be detached: %v", e.Processor, e.Err)
}

func (e *NotDetachedError) Unwrap() error { return e.Err }

// maxRestores bounds how often restore stops a processor that comes up again.
const maxRestores = 4

// restore stops the processor and puts its attributes back. A start whose process
// was killed may go on in the driver, and shows as offline until it is done; setting
// the firmware waits for it, and is refused when the core came up.
func (c *Claim) restore(saved attributes) error {
	var err error
	for range maxRestores {
		if err := c.end(); errors.Is(err, fs.ErrNotExist) {
			return nil // unbound from its driver, which stopped it
		} else if err != nil {
			return err
		}
		// the attributes are a courtesy: a kernel that refuses them keeps no core running
		_ = c.Processor.SetRecovery(saved.Recovery)
		if saved.Coredump != "" {
			_ = c.Processor.SetCoredump(saved.Coredump)
		}
		if c.record.Attached {
			return nil // nobody chose a firmware for it
		}
		if err = c.Processor.SetFirmware(saved.Firmware); !errors.Is(err, unix.EBUSY) {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", remoteproc.ErrNotStopped, err)
}

// end stops the core, or detaches it.
func (c *Claim) end() error {
	state, err := c.Processor.State()
	if err != nil {
		return err
	}
	if state == remoteproc.Crashed {
		c.quieten() // stopping may take a restart
	}
	if state == remoteproc.Attached && c.record.Detach {
		if err = c.Processor.Detach(); err == nil {
			return nil
		}
		if serr := c.Processor.Stop(); serr != nil {
			return serr
		}
		return &NotDetachedError{c.Processor, err}
	}
	return c.Processor.Stop()
}

// unlock closes the lock. It must not unlock: that would take the lock away from a
// process that inherited it.
func (c *Claim) unlock() { c.lock.Close() }

// Sweep undoes what dead holders left behind: processors that still run, staged
// firmware. What cannot be undone now is left to the next one: Reclaim tells why.
// While somebody else changes claims it does nothing: a driver that hangs must not
// keep the questions of others waiting.
func (s *Store) Sweep() {
	entries, _ := os.ReadDir(s.dir) // a folder that is not there holds nothing
	for _, e := range entries {
		for _, suffix := range []string{savedRecord, newRecord} {
			if instance, found := strings.CutSuffix(e.Name(), "."+suffix); found {
				_ = s.reclaim(instance, unix.LOCK_NB)
			}
		}
	}
}

// Reclaim is Sweep for one processor, by its instance name, after the end of holder.
// That another one holds it, or that there is nothing to undo, is no error; that holder
// itself does, and so has not ended, is a *BusyError.
func (s *Store) Reclaim(instance string, holder Holder) error {
	if instance == "" || filepath.Base(instance) != instance {
		return nil
	}
	p := &remoteproc.Processor{Instance: instance}
	if !exists(s.file(p, savedRecord)) && !exists(s.file(p, newRecord)) {
		return nil
	}
	err := s.reclaim(instance, 0)
	if busy := (*BusyError)(nil); errors.As(err, &busy) && busy.Holder != holder {
		return nil
	}
	return err
}

// HeldBy returns the processor that holder has, and the process that has it for it; ""
// if it has none. It is for a container that cannot be read: else that says it.
func (s *Store) HeldBy(holder Holder) (instance string, monitor process.Identity) {
	entries, _ := os.ReadDir(s.dir) // a folder that is not there holds nothing
	for _, e := range entries {
		name, found := strings.CutSuffix(e.Name(), "."+savedRecord)
		if !found {
			continue
		}
		if r, err := s.read(&remoteproc.Processor{Instance: name}); err == nil && r.Holder == holder {
			return name, r.Monitor
		}
	}
	return "", process.Identity{}
}

// Holds reports whether holder has a processor: its lock tells that it lives, where
// /proc does not. While somebody else changes claims it does not tell.
func (s *Store) Holds(instance string, holder Holder) bool {
	p := &remoteproc.Processor{Instance: instance}
	if r, err := s.read(p); err != nil || r.Holder != holder {
		return false
	}
	unlock, err := s.lockFile("claims.lock", unix.LOCK_NB)
	if err != nil {
		return false
	}
	defer unlock()
	c, err := s.lock(p)
	if err == nil {
		c.unlock()
	}
	busy := (*BusyError)(nil)
	return errors.As(err, &busy) && busy.Holder == holder
}

// reclaim undoes what a dead holder left; how is LOCK_NB to wait for nobody. The
// kernel is asked about the processor only if its lock is free: that takes time, and
// mostly the holder lives, which is a *BusyError.
func (s *Store) reclaim(instance string, how int) error {
	unlock, err := s.lockFile("claims.lock", how)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := s.lock(&remoteproc.Processor{Instance: instance})
	if err != nil {
		return err
	}
	p, err := s.host.Processor(instance)
	switch {
	case err == nil:
		c.Processor = p
	case !errors.Is(err, fs.ErrNotExist): // if it is gone, its staged firmware is still there
		c.unlock()
		return err
	}
	if err := c.Release(); err != nil {
		return leftBehind(c.Processor, err)
	}
	return nil
}

func leftBehind(p *remoteproc.Processor, err error) error {
	return fmt.Errorf("%s was left behind by a container whose monitor died, and cannot be put back: %w", p, err)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// Names of a record's file, after the processor's: in force, and being written,
// which only the holder of the processor's lock does.
const (
	savedRecord = "json"
	newRecord   = "json.new"
)

func (s *Store) file(p *remoteproc.Processor, suffix string) string {
	return filepath.Join(s.dir, p.Instance+"."+suffix)
}

func (s *Store) read(p *remoteproc.Processor) (record, error) {
	var r record
	b, err := os.ReadFile(s.file(p, savedRecord))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w (remove it once the processor is stopped)", s.file(p, savedRecord), err)
	}
	return r, nil
}

// save replaces the record in one step. It needs no fsync: tmpfs does not outlive
// the power, and neither does a running core.
func (c *Claim) save() error {
	b, err := json.Marshal(c.record)
	if err != nil {
		return err
	}
	temporary := c.store.file(c.Processor, newRecord)
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		os.Remove(temporary) // a full disk
		return err
	}
	return os.Rename(temporary, c.store.file(c.Processor, savedRecord))
}

// lockFile waits for one of the store's own locks; with how LOCK_NB it does not.
// claims.lock is held while claims change hands, stage.lock while the folder of
// staged files and the records that say which are used change; in this order, and
// with a processor's lock in between.
func (s *Store) lockFile(name string, how int) (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX|how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
