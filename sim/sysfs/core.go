package sysfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs/kmsg"
)

// state is enum rproc_state, in the words of the state attribute.
type state string

const (
	offline  state = "offline"
	running  state = "running"
	crashed  state = "crashed"
	attached state = "attached"
	detached state = "detached"
)

// CrashType is enum rproc_crash_type: why a core is reported as crashed.
type CrashType uint

// The types that the kernel has words for.
const (
	MMUFault CrashType = iota
	Watchdog
	FatalError
)

func (t CrashType) String() string {
	switch t {
	case MMUFault:
		return "mmufault"
	case Watchdog:
		return "watchdog"
	case FatalError:
		return "fatal error"
	}
	return "unknown"
}

// What a pretend core refuses to do.
var (
	// ErrNoFirmware reports a core that executes nothing.
	ErrNoFirmware = fmt.Errorf("no firmware is loaded: %w", unix.ENXIO)
	// ErrNoTrace reports firmware that declared no trace buffer.
	ErrNoTrace = fmt.Errorf("the firmware declares no trace buffer: %w", unix.ENXIO)
	// ErrNoTTY reports firmware that declared no virtio device for rpmsg.
	ErrNoTTY = fmt.Errorf("the firmware declares no rpmsg device: %w", unix.ENXIO)
)

// kernel is what all cores share.
type kernel struct {
	open        func(name string) ([]byte, error) // request_firmware
	greeting    string
	stopCrashed bool
	inodes      atomic.Uint64 // of traces; those of all else are numbered from 1<<63
	dumps       dumps
	ttys        ttys

	mu   sync.Mutex // for what is below
	log  io.Writer
	kmsg *kmsg.Log // nil: there is none
}

// Core is one remote processor: drivers/remoteproc/remoteproc_core.c, with a core
// behind it that executes nothing. Its exported methods are what a core does by
// itself; they may be called at any time, from any goroutine.
type Core struct {
	kernel   *kernel
	instance string // remoteprocN
	config   Processor

	machine *machine       // executes the firmware; nil: the core only pretends
	lock    chan struct{}  // rproc->lock: taken across whatever the driver does
	reports chan CrashType // the crash handler's work queue: one waits, at most
	done    chan struct{}
	closing sync.Once
	worker  sync.WaitGroup

	mu sync.Mutex // guards what is below; nothing waits while holding it

	state    state
	power    int // starts that were not yet stopped
	firmware string
	recovery bool
	coredump string
	crashes  int

	booted    []byte // resource table of what a boot loader started, nil without one
	table     []byte // of the loaded firmware, nil without one
	traces    []*trace
	carveouts []board.Region // what device addresses may mean, while loaded
	entry     uint64         // of the loaded firmware
	dump      *dump          // nil: there is none
	tty       *tty           // nil: there is none
	left      []*tty         // those of boots before that somebody has open still
	received  []byte         // on the tty
	mute      bool           // nothing is sent back there
	memory    memory

	bootDelay, stopDelay time.Duration
	bootError, stopError syscall.Errno
	bootCrash            *CrashType    // of every start; nil is none
	hurry                chan struct{} // closed to end what the driver is waiting for

	hung  bool          // until the next boot
	ticks chan struct{} // closed to end the ticking; nil where there is none
}

func newCore(k *kernel, instance string, p Processor) *Core {
	c := &Core{
		kernel: k, instance: instance, config: p,
		lock: make(chan struct{}, 1), reports: make(chan CrashType, 1), done: make(chan struct{}),
		hurry: make(chan struct{}),
		state: offline, firmware: p.Firmware, recovery: true, coredump: "disabled", memory: pages{},
	}
	if c.firmware == "" {
		c.firmware = "rproc-" + p.Name + "-fw" // rproc_alloc_firmware
	}
	if p.Attached {
		c.state = detached
		if p.AttachedTrace > 0 && len(p.Memory) > 0 {
			c.booted = traceTable(uint32(p.Memory[0].Start), p.AttachedTrace)
		}
	}
	c.worker.Go(c.handleCrashes)
	return c
}

// close ends what waits and the crash handler. The core stays as it is.
func (c *Core) close() {
	c.closing.Do(func() { close(c.done) })
	c.worker.Wait()
	c.closeTTY()
	c.releaseTTYs()
	if c.machine != nil {
		c.powerOff()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dump != nil {
		c.dump.timer.Stop()
	}
}

// device is who a line of the kernel's log is about.
type device struct{ driver, subsystem, name string }

// class is the processor, and platform the device that its driver is bound to.
func (c *Core) class() device    { return device{"remoteproc", "remoteproc", c.instance} }
func (c *Core) platform() device { return device{"rproc", "platform", c.config.NodeName} }

// printk writes a line to the kernel's log.
func (k *kernel) printk(level int, about device, format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	// only a newline at the end is one
	line := fmt.Sprintf("%s %s: %s", about.driver, about.name, strings.TrimSuffix(fmt.Sprintf(format+"\n", args...), "\n"))
	if k.kmsg != nil {
		k.kmsg.Print(level, about.subsystem, about.name, line)
	}
	if k.log != nil {
		fmt.Fprintln(k.log, line)
	}
}

func (c *Core) printk(level int, format string, args ...any) {
	c.kernel.printk(level, c.class(), format, args...)
}

// explain logs the words of an error, if it has any.
func (c *Core) explain(err error) { c.kernel.explain(c.class(), err) }

func (k *kernel) explain(about device, err error) {
	var e *kernelError
	if errors.As(err, &e) {
		k.printk(kmsg.Error, about, "%s", e.words)
	}
}

// acquire takes the processor's lock, and logs when it cannot.
func (c *Core) acquire(ctx context.Context) error {
	err := c.take(ctx)
	if err != nil {
		c.printk(kmsg.Error, "can't lock rproc %s: -%d", c.config.Name, errnoOf(err))
	}
	return err
}

// take is mutex_lock_interruptible. A signal to the process that waits cancels the
// context.
func (c *Core) take(ctx context.Context) error {
	select {
	case c.lock <- struct{}{}: // a signal does not matter to a lock that is free
		return nil
	default:
	}
	select {
	case c.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return unix.EINTR
	case <-c.done:
		return unix.ESHUTDOWN
	}
}

func (c *Core) release() { <-c.lock }

func (c *Core) is() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *Core) become(s state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

// start is rproc_boot. On a core that is up it counts, and does nothing.
func (c *Core) start(ctx context.Context) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	c.power++
	if c.power > 1 {
		return nil
	}
	var err error
	if c.is() == detached {
		c.printk(kmsg.Info, "attaching to %s", c.config.Name)
		err = c.attach()
	} else {
		c.printk(kmsg.Info, "powering up %s", c.config.Name)
		err = c.boot()
	}
	if err != nil {
		c.power--
	}
	return err
}

// stop is rproc_shutdown.
func (c *Core) stop(ctx context.Context) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	s := c.is()
	if s != running && s != attached && (s != crashed || !c.kernel.stopCrashed) {
		return unix.EINVAL
	}
	c.power--
	if c.power != 0 {
		return nil
	}
	if err := c.halt(); err != nil {
		c.power++
		return err
	}
	c.unload()
	return nil
}

// detach is rproc_detach.
func (c *Core) detach(ctx context.Context) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	if c.is() != attached {
		return unix.EINVAL
	}
	c.power--
	if c.power != 0 {
		return nil
	}
	c.closeTTY()
	c.unload()
	c.become(detached)
	c.printk(kmsg.Info, "detached remote processor %s", c.config.Name)
	return nil
}

// preload is what a boot loader does that starts the core before Linux.
func (c *Core) preload(firmware []byte) error {
	m, err := parse(firmware)
	if err != nil {
		return err
	}
	if c.booted, _, err = m.table(); err != nil {
		return err
	}
	c.carveouts = c.config.Memory
	defer c.unload()
	return m.segments(c.load)
}

// attach is rproc_attach: the firmware is there, and so is its resource table.
func (c *Core) attach() error {
	err := c.claim(c.booted)
	if err == nil {
		err = c.openTTY()
	}
	if err != nil {
		c.unload()
		return err
	}
	c.become(attached)
	c.printk(kmsg.Info, "remote processor %s is now attached", c.config.Name)
	return nil
}

// traceTable is a resource table with one trace buffer.
func traceTable(addr, size uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, tableHeader+4+typeSize+traceSize)
	le.PutUint32(b, 1)
	le.PutUint32(b[4:], 1)
	le.PutUint32(b[tableHeader:], tableHeader+4)
	entry := b[tableHeader+4:]
	le.PutUint32(entry, typeTrace)
	le.PutUint32(entry[4:], addr)
	le.PutUint32(entry[8:], size)
	copy(entry[16:], "trace")
	return b
}

// boot is request_firmware and rproc_fw_boot.
func (c *Core) boot() error {
	name, data, err := c.read()
	if err != nil {
		return err
	}
	m, err := parse(data)
	if err != nil {
		c.explain(err)
		return err
	}
	c.printk(kmsg.Info, "Booting fw image %s, size %d", name, len(data))
	table, _, err := m.table()
	if err != nil {
		c.explain(err)
		if c.config.TableRequired {
			return err
		}
		c.printk(kmsg.Warning, "no resource table found for this firmware")
	}
	if err = c.claim(table); err == nil {
		err = c.run(m)
	}
	if err != nil {
		c.unload()
	}
	return err
}

// read looks for the firmware file, anew at every start and recovery.
func (c *Core) read() (name string, data []byte, err error) {
	c.mu.Lock()
	name = c.firmware
	c.mu.Unlock()
	data, err = c.kernel.open(name)
	if err != nil {
		c.explain(err)
		c.printk(kmsg.Warning, "Direct firmware load for %s failed with error -%d", name, errnoOf(err))
		c.printk(kmsg.Error, "request_firmware failed: -%d", errnoOf(err))
	}
	return name, data, err
}

// claim takes the resources of a table, which may be nil.
func (c *Core) claim(table []byte) error {
	var r resources
	if table != nil {
		var err error
		if r, err = handle(table, c.config.Memory); err != nil {
			c.explain(err)
			c.printk(kmsg.Error, "Failed to process resources: -%d", errnoOf(err))
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if table != nil {
		table = setVdevs(table, c.config.Memory)
	}
	c.table = table
	c.carveouts = slices.Concat(c.config.Memory, r.carveouts)
	for _, t := range r.traces {
		t.inode = c.kernel.inodes.Add(1)
		c.traces = append(c.traces, &t)
	}
	return nil
}

// unload is rproc_resource_cleanup.
func (c *Core) unload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table, c.carveouts, c.traces = nil, nil, nil
}

// run is rproc_start: it loads the segments and lets the core go.
func (c *Core) run(m *image) error {
	if err := m.segments(c.load); err != nil {
		c.explain(err)
		c.printk(kmsg.Error, "Failed to load program segments: -%d", errnoOf(err))
		return err
	}
	if table, addr, err := m.table(); err == nil {
		// what firmware sees is the kernel's copy; on recovery the one of the first boot
		c.mu.Lock()
		if c.maps(addr, uint64(len(table))) {
			c.memory.write(addr, c.table)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.entry = m.header().entry
	delay, errno, crash := c.bootDelay, c.bootError, c.bootCrash
	c.hung = false
	c.mu.Unlock()
	if crash != nil {
		c.Crash(*crash) // it is handled once the start is over
	}
	if err := c.drive(delay, errno); err != nil {
		c.printk(kmsg.Error, "can't start rproc %s: -%d", c.config.Name, errnoOf(err))
		return err
	}
	if c.machine != nil {
		if err := c.machine.release(c); err != nil {
			c.printk(kmsg.Error, "can't start rproc %s: %v", c.config.Name, err)
			return unix.EIO
		}
	}
	if err := c.openTTY(); err != nil {
		c.printk(kmsg.Error, "failed to probe subdevices for %s: -%d", c.config.Name, errnoOf(err))
		return err
	}
	c.mu.Lock()
	c.state = running
	if c.kernel.greeting != "" && len(c.traces) > 0 && c.machine == nil {
		c.print(strings.ReplaceAll(c.kernel.greeting, FirmwareName, c.firmware) + "\n")
	}
	c.mu.Unlock()
	c.printk(kmsg.Info, "remote processor %s is now up", c.config.Name)
	return nil
}

// load puts one segment into memory.
func (c *Core) load(s segment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.maps(s.addr, s.size) {
		return errorf(unix.EINVAL, "bad phdr da %#x mem %#x", s.addr, s.size)
	}
	c.memory.clear(s.addr, s.size)
	c.memory.write(s.addr, s.data)
	return nil
}

// maps is rproc_da_to_va. The caller holds mu.
func (c *Core) maps(addr, size uint64) bool {
	for _, r := range c.carveouts {
		if r.Contains(addr, size) {
			return true
		}
	}
	return false
}

// drive stands for the driver at work.
func (c *Core) drive(delay time.Duration, errno syscall.Errno) error {
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		c.mu.Lock()
		hurry := c.hurry
		c.mu.Unlock()
		select {
		case <-t.C:
		case <-hurry:
		case <-c.done:
			return unix.ESHUTDOWN
		}
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// halt is rproc_stop.
func (c *Core) halt() error {
	c.closeTTY() // devices go before the core is stopped
	c.mu.Lock()
	c.endTicks()
	delay, errno := c.stopDelay, c.stopError
	c.mu.Unlock()
	if err := c.drive(delay, errno); err != nil {
		c.printk(kmsg.Error, "can't stop rproc: -%d", errnoOf(err))
		return err
	}
	if c.machine != nil {
		c.machine.hold()
	}
	c.become(offline)
	c.printk(kmsg.Info, "stopped remote processor %s", c.config.Name)
	return nil
}

// handleCrashes is the kernel's work queue. A report wakes it; like the kernel's it
// runs some time after the report was made.
func (c *Core) handleCrashes() {
	for {
		select {
		case <-c.done:
			return
		case <-c.reports:
			c.handleCrash()
		}
	}
}

// handleCrash is rproc_crash_handler_work.
func (c *Core) handleCrash() {
	ctx := context.Background() // no signal reaches a kernel thread
	if c.acquire(ctx) != nil {
		return
	}
	c.mu.Lock()
	recovery := c.recovery
	if c.state == crashed || c.state == offline {
		c.mu.Unlock()
		c.release()
		return
	}
	c.state = crashed
	c.crashes++
	n := c.crashes
	c.mu.Unlock()
	c.printk(kmsg.Error, "handling crash #%d in %s", n, c.config.Name)
	c.release()
	if recovery {
		_ = c.recover(ctx) // nobody to tell
	}
}

// recover is rproc_trigger_recovery: out of a crash by stop and start. What firmware
// asked for at its boot stays as it is, the file is loaded again. When that fails
// the core is offline with its start still counted: later starts do nothing, and
// stops are refused.
func (c *Core) recover(ctx context.Context) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	if c.is() != crashed {
		return nil
	}
	c.printk(kmsg.Error, "recovering %s", c.config.Name)
	if err := c.halt(); err != nil {
		return err
	}
	if err := c.dumpCore(); err != nil {
		return err
	}
	_, data, err := c.read()
	if err != nil {
		return err
	}
	m, err := parse(data)
	if err != nil {
		return err
	}
	return c.run(m)
}

// setFirmware is rproc_set_firmware.
func (c *Core) setFirmware(ctx context.Context, name string) error {
	if err := c.take(ctx); err != nil {
		// rproc_set_firmware logs the errno, and hides it
		return errorf(unix.EINVAL, "can't lock rproc %s: -%d", c.config.Name, errnoOf(err))
	}
	defer c.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != offline {
		return errorf(unix.EBUSY, "can't change firmware while running")
	}
	name, _, _ = strings.Cut(name, "\n")
	if name == "" {
		return errorf(unix.EINVAL, "can't provide empty string for firmware name")
	}
	c.firmware = name
	return nil
}

// print appends to the first trace buffer, up to its end. The caller holds mu.
func (c *Core) print(text string) {
	t := c.traces[0]
	if !c.maps(t.addr, t.size) {
		return
	}
	used := uint64(len(c.memory.stringAt(t.addr, t.size)))
	text = text[:min(uint64(len(text)), t.size-used)]
	c.memory.write(t.addr+used, []byte(text))
	if end := used + uint64(len(text)); end < t.size {
		c.memory.write(t.addr+end, []byte{0})
	}
}

// readTrace is rproc_trace_read. A trace that is gone is a file that was removed
// while it was open.
func (c *Core) readTrace(t *trace) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.traces {
		if known != t {
			continue
		}
		if !c.maps(t.addr, t.size) {
			return []byte("Trace  not available\n"), nil // the name is never filled in
		}
		return c.memory.stringAt(t.addr, t.size), nil
	}
	return nil, unix.EIO
}

// traceBuffers are the trace buffers that there are now, trace0 first.
func (c *Core) traceBuffers() []*trace {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.traces[:len(c.traces):len(c.traces)]
}

// loaded checks that there is firmware with a trace buffer. The caller holds mu.
func (c *Core) loaded() error {
	switch {
	case c.carveouts == nil:
		return ErrNoFirmware
	case len(c.traces) == 0:
		return ErrNoTrace
	}
	return nil
}

// Trace makes the firmware print text: it is appended to the C string in its first
// trace buffer. What does not fit is lost.
func (c *Core) Trace(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loaded(); err != nil {
		return err
	}
	if !c.hung {
		c.print(text)
	}
	return nil
}

// Tick makes the firmware print "tick N" so often, until it is stopped; 0 is never.
func (c *Core) Tick(every time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loaded(); err != nil {
		return err
	}
	c.endTicks()
	if every <= 0 {
		return nil
	}
	end := make(chan struct{})
	c.ticks = end
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for n := 1; ; n++ {
			select {
			case <-end:
				return
			case <-c.done:
				return
			case <-ticker.C:
				c.tick(end, n)
			}
		}
	}()
	return nil
}

// tick prints, unless the ticking ended just now: the next boot has no ticks of this one.
func (c *Core) tick(of chan struct{}, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ticks == of && !c.hung && c.loaded() == nil {
		c.print(fmt.Sprintf("tick %d\n", n))
	}
}

// endTicks ends the ticking. The caller holds mu.
func (c *Core) endTicks() {
	if c.ticks != nil {
		close(c.ticks)
		c.ticks = nil
	}
}

// Hang makes the firmware do nothing more, which nobody is told of, until it is started
// anew.
func (c *Core) Hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hung = true
}

// ResetTrace empties the first trace buffer, as firmware does that wraps around.
func (c *Core) ResetTrace() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loaded(); err != nil {
		return err
	}
	if t := c.traces[0]; c.maps(t.addr, t.size) {
		c.memory.clear(t.addr, t.size)
	}
	return nil
}

// Crash reports the core as crashed: rproc_report_crash. It returns before anything
// comes of it. A core that is offline or has crashed already does not care.
func (c *Core) Crash(t CrashType) {
	c.printk(kmsg.Error, "crash detected in %s: type %s", c.config.Name, t)
	select {
	case c.reports <- t:
	default: // the work is queued already
	}
}

// SetBootDelay makes every start from now on take this long.
func (c *Core) SetBootDelay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bootDelay = d
}

// SetBootCrash makes the core crash in every start from now on; nil is none.
func (c *Core) SetBootCrash(t *CrashType) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bootCrash = t
}

// Hurry ends the delay of a start or stop that is under way.
func (c *Core) Hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.hurry)
	c.hurry = make(chan struct{})
}

// SetBootError makes every start from now on fail in the driver; 0 is none.
func (c *Core) SetBootError(errno syscall.Errno) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bootError = errno
}

// SetStopDelay makes every stop from now on take this long.
func (c *Core) SetStopDelay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopDelay = d
}

// SetStopError makes every stop from now on fail in the driver; 0 is none.
func (c *Core) SetStopError(errno syscall.Errno) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopError = errno
}

// errnoOf is the errno in err, EIO if there is none.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return unix.EIO
}
