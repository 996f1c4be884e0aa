package sysfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
)

const (
	rpmsgDevice = 7     // VIRTIO_ID_RPMSG
	rpmsgAddr   = 0x400 // of the channel, as OpenAMP's examples have it
	driverOK    = 7     // status of a virtio device that works
	// maxReceived is how much of what Linux wrote to a tty is kept.
	maxReceived = 64 << 10
	// ttyPatience is how long the core waits for room in a tty that nobody reads.
	ttyPatience = 50 * time.Millisecond
)

// ttys are the /dev/ttyRPMSGN of all cores: drivers/tty/rpmsg_tty.c.
type ttys struct {
	dir string // where they are: DIR/dev

	mu   sync.Mutex
	list []*tty // by number, those that were hung up too; nil where there is none
}

// tty is the channel rpmsg-tty that pretend firmware with an rpmsg device announces:
// a pseudo terminal, whose master is the core's end.
type tty struct {
	core   *Core
	name   string
	link   string   // DIR/dev/ttyRPMSGN
	master *os.File // the core's end
	slave  *os.File // kept open: else reading the master fails while nobody has it open
	ended  chan struct{}
	users  *openers
	free   sync.Once

	inCore, inClass, onBus *liveEntry
}

// openTTY is rpmsg_tty_probe, for the first rpmsg device of the table. Without a folder
// for it, as in tests of a core alone, there is none; nor with firmware that really runs,
// for nobody moves its messages.
func (c *Core) openTTY() error {
	k := c.kernel
	c.mu.Lock()
	wanted := k.ttys.dir != "" && c.machine == nil && hasRpmsg(c.table)
	c.received = nil
	c.mu.Unlock()
	if !wanted {
		return nil
	}
	t := &tty{core: c, ended: make(chan struct{})}
	if err := t.open(); err != nil {
		return err
	}
	k.sweepTTYs()
	k.ttys.mu.Lock()
	defer k.ttys.mu.Unlock()
	n := slices.Index(k.ttys.list, nil)
	if n < 0 {
		n = len(k.ttys.list)
		k.ttys.list = append(k.ttys.list, nil)
	}
	t.name = fmt.Sprintf("ttyRPMSG%d", n)
	t.link = filepath.Join(k.ttys.dir, t.name)
	_ = os.Remove(t.link) // of a server that was killed
	if err := os.Symlink(t.slave.Name(), t.link); err != nil {
		t.users.close()
		return errors.Join(err, t.master.Close(), t.slave.Close())
	}
	t.tree()
	k.ttys.list[n] = t
	c.mu.Lock()
	c.tty = t
	c.mu.Unlock()
	go t.receive()
	return nil
}

// sweepTTYs frees the numbers of the ttys that nobody has open any more. The kernel does
// so in the close, which we hear of a moment later.
func (k *kernel) sweepTTYs() {
	k.ttys.mu.Lock()
	all := slices.Clone(k.ttys.list)
	k.ttys.mu.Unlock()
	for _, t := range all {
		if t == nil {
			continue
		}
		t.core.mu.Lock()
		hungUp := slices.Contains(t.core.left, t)
		t.core.mu.Unlock()
		if hungUp && t.users.gone() {
			t.release()
		}
	}
}

// closeTTY is rpmsg_tty_remove: who has the tty open is hung up. As long as it stays open
// it keeps its number, and the next tty gets another.
func (c *Core) closeTTY() {
	c.mu.Lock()
	t := c.tty
	c.tty = nil
	if t != nil {
		c.left = append(c.left, t)
	}
	c.mu.Unlock()
	if t == nil {
		return
	}
	_ = os.Remove(t.link)
	_ = unix.IoctlSetInt(int(t.slave.Fd()), unix.TIOCVHANGUP, 0)
	t.users.whenLeft(t.release)
}

// release ends a tty that was hung up.
func (t *tty) release() {
	t.free.Do(func() {
		all := &t.core.kernel.ttys
		all.mu.Lock()
		all.list[slices.Index(all.list, t)] = nil
		all.mu.Unlock()
		t.core.mu.Lock()
		t.core.left = slices.DeleteFunc(t.core.left, func(other *tty) bool { return other == t })
		t.core.mu.Unlock()
		t.users.close()
		_ = t.slave.Close()
		_ = t.master.Close()
		<-t.ended
	})
}

// releaseTTYs ends the ttys that somebody has open still.
func (c *Core) releaseTTYs() {
	c.mu.Lock()
	left := slices.Clone(c.left)
	c.mu.Unlock()
	for _, t := range left {
		t.release()
	}
}

func (t *tty) open() error {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open /dev/ptmx: %w", err)
	}
	t.master = os.NewFile(uintptr(fd), "/dev/ptmx")
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	n := 0
	if err == nil {
		n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	}
	if err == nil {
		t.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("pseudo terminal: %w", err), t.master.Close())
	}
	if err = t.settle(); err == nil {
		t.users, err = watchOpeners(t.slave.Name())
	}
	if err != nil {
		return errors.Join(err, t.master.Close(), t.slave.Close())
	}
	return nil
}

// settle gives the terminal the settings that a new rpmsg tty has: no echo, no editing
// of lines, no output processing.
func (t *tty) settle() error {
	settings, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Lflag &^= unix.ECHO | unix.ICANON
	settings.Cc[unix.VMIN], settings.Cc[unix.VTIME] = 1, 0
	settings.Oflag &^= unix.OPOST | unix.ONLCR
	return unix.IoctlSetTermios(int(t.slave.Fd()), unix.TCSETS, settings)
}

// receive is the firmware: it keeps what Linux writes, and echoes it unless told not to.
func (t *tty) receive() {
	defer close(t.ended)
	b := make([]byte, 4096)
	for {
		n, err := t.master.Read(b)
		if err != nil {
			return
		}
		c := t.core
		c.mu.Lock()
		c.received = append(c.received, b[:n]...)
		c.received = c.received[max(0, len(c.received)-maxReceived):]
		echo, runs := !c.mute && !c.hung, c.state == running || c.state == attached
		c.mu.Unlock()
		if echo && runs {
			_ = t.send(b[:n])
		}
	}
}

// send writes as the core. What does not fit because nobody reads is lost.
func (t *tty) send(b []byte) error {
	if err := t.master.SetWriteDeadline(time.Now().Add(ttyPatience)); err != nil {
		return err
	}
	_, err := t.master.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// tree makes the devices between the processor and the terminal, as Linux 6.1 has them.
func (t *tty) tree() {
	n := strings.TrimPrefix(t.core.instance, "remoteproc")
	virtio := "virtio" + n
	channel := fmt.Sprintf("%s.rpmsg-tty.-1.%d", virtio, rpmsgAddr)
	attribute := func(name, content string) *file {
		return &file{name: name, mode: 0o444, size: attributeSize, show: constant(content)}
	}
	uevent := func(content string) *file {
		return &file{name: "uevent", mode: 0o644, size: attributeSize, show: constant(content), store: storeUevent}
	}
	var stat unix.Stat_t
	_ = unix.Fstat(int(t.slave.Fd()), &stat) // of an open file
	major, minor := unix.Major(stat.Rdev), unix.Minor(stat.Rdev)

	terminal := newFolder(0o755).
		addFile(attribute("dev", fmt.Sprintf("%d:%d\n", major, minor))).
		addFile(uevent(fmt.Sprintf("MAJOR=%d\nMINOR=%d\nDEVNAME=%s\n", major, minor, t.name))).
		addLink("device", "../../../"+channel).
		addLink("subsystem", strings.Repeat("../", 10)+"class/tty")
	endpoint := newFolder(0o755).
		addFile(attribute("name", "rpmsg-tty\n")).addFile(attribute("src", fmt.Sprintf("%#x\n", rpmsgAddr))).
		addFile(attribute("dst", fmt.Sprintf("%#x\n", rpmsgAddr))).addFile(attribute("announce", "false\n")).
		addFile(attribute("modalias", "rpmsg:rpmsg-tty\n")).
		addFile(uevent("DRIVER=rpmsg_tty\nMODALIAS=rpmsg:rpmsg-tty\n")).
		add("tty", newFolder(0o755).add(t.name, terminal))
	device := newFolder(0o755).
		addFile(attribute("device", "0x0007\n")).addFile(attribute("status", "0x00000007\n")).
		add(channel, endpoint)
	bus := "rproc-virtio." + n + ".auto"
	below := fmt.Sprintf("devices/platform/%s/remoteproc/%s/%s/%s/%s", t.core.config.NodeName, t.core.instance, bus, virtio, channel)
	t.inCore = liveFolder(bus, newFolder(0o755).add(virtio, device))
	t.inClass = liveLink(t.name, "../../"+below+"/tty/"+t.name)
	t.onBus = liveLink(channel, "../../../"+below)
}

// current says whether the tty was not hung up.
func (t *tty) current() bool {
	t.core.mu.Lock()
	defer t.core.mu.Unlock()
	return t.core.tty == t
}

func (k *ttys) entries(of func(*tty) *liveEntry) []*liveEntry {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []*liveEntry
	for _, t := range k.list {
		if t != nil && t.current() {
			list = append(list, of(t))
		}
	}
	return list
}

// devices are what comes and goes below a processor.
func (c *Core) devices() []*liveEntry {
	list := c.dumpLink()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tty != nil {
		list = append(list, c.tty.inCore)
	}
	return list
}

// TTY makes the firmware write text to its rpmsg tty.
func (c *Core) TTY(text string) error {
	c.mu.Lock()
	t, hung := c.tty, c.hung
	c.mu.Unlock()
	if t == nil {
		return ErrNoTTY
	}
	if hung {
		return nil
	}
	return t.send([]byte(text))
}

// SetEcho says whether the firmware sends back what it receives on its rpmsg tty. It
// does at first.
func (c *Core) SetEcho(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = !on
}

// Received is what Linux has written to the rpmsg tty since the boot, the last of it.
func (c *Core) Received() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.received)
}

// receivedFile is Received as a file. It belongs to no kernel.
func (c *Core) receivedFile() *file {
	return &file{
		name: "tty", mode: 0o444, size: attributeSize,
		show:  text(c.Received),
		store: func(context.Context, string) error { return unix.EINVAL },
	}
}

// vdevs calls f with the bodies of a table's virtio devices.
func vdevs(table []byte, f func(body []byte)) {
	if table == nil {
		return
	}
	le := binary.LittleEndian
	for i := range uint64(le.Uint32(table[4:])) {
		offset := uint64(le.Uint32(table[tableHeader+4*i:]))
		if le.Uint32(table[offset:]) == typeVdev {
			f(table[offset+typeSize:])
		}
	}
}

// usable reports whether an rpmsg device has two vrings with buffers.
func usable(vdev []byte) bool {
	le := binary.LittleEndian
	if le.Uint32(vdev) != rpmsgDevice || vdev[21] != 2 {
		return false
	}
	return le.Uint32(vdev[vdevSize+8:]) > 0 && le.Uint32(vdev[vdevSize+vringSize+8:]) > 0
}

func hasRpmsg(table []byte) (has bool) {
	vdevs(table, func(b []byte) { has = has || usable(b) })
	return has
}

// setVdevs fills in what the kernel and the driver write into a table: where the vrings
// are, and that the device works.
func setVdevs(table []byte, memories []board.Region) []byte {
	table = slices.Clone(table) // the file's
	le, i := binary.LittleEndian, 0
	vdevs(table, func(b []byte) {
		if usable(b) {
			le.PutUint32(b[12:], le.Uint32(b[8:])&1) // of the features, Linux has the name service
			b[20] = driverOK
		}
		for j := range int(b[21]) {
			name := fmt.Sprintf("vdev%dvring%d", i, j)
			for _, m := range memories {
				if vring := b[vdevSize+vringSize*j:]; m.Name == name && le.Uint32(vring) == anyAddress {
					le.PutUint32(vring, uint32(m.Start))
				}
			}
		}
		i++
	})
	return table
}
