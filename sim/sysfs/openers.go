package sysfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// openers counts who has a file open, from the moment on that it is made.
type openers struct {
	events *os.File // inotify(7)

	mu    sync.Mutex
	count int
	leave func() // called once when nobody is there; nil: not yet wanted
}

func watchOpeners(path string) (*openers, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	o := &openers{events: os.NewFile(uintptr(fd), "inotify")}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_CLOSE_WRITE|unix.IN_CLOSE_NOWRITE); err != nil {
		_ = o.events.Close()
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	go o.run()
	return o, nil
}

func (o *openers) run() {
	raw, err := o.events.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = raw.Read(func(fd uintptr) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.drain(fd)
		if o.count <= 0 && o.leave != nil {
			go o.leave() // it closes what is being read here
			o.leave = nil
		}
		return false // for ever, until it is closed
	})
}

// drain counts the events that there are. The caller holds mu.
func (o *openers) drain(fd uintptr) {
	b := make([]byte, 4096)
	for {
		n, err := unix.Read(int(fd), b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		o.account(b[:n])
	}
}

// account counts events. The caller holds mu.
func (o *openers) account(b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		if mask := binary.NativeEndian.Uint32(b[4:]); mask&unix.IN_OPEN != 0 {
			o.count++
		} else if mask&(unix.IN_CLOSE_WRITE|unix.IN_CLOSE_NOWRITE) != 0 {
			o.count--
		}
		b = b[unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(b[12:])):]
	}
}

// whenLeft calls f once nobody has the file open any more: now, if nobody has.
func (o *openers) whenLeft(f func()) {
	o.mu.Lock()
	if raw, err := o.events.SyscallConn(); err == nil {
		_ = raw.Control(o.drain) // of what has happened just now, nobody has heard yet
	}
	if o.count > 0 {
		o.leave, f = f, nil
	}
	o.mu.Unlock()
	if f != nil {
		f()
	}
}

// gone reports whether nobody has the file open any more, even if run has not heard so
// yet.
func (o *openers) gone() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if raw, err := o.events.SyscallConn(); err == nil {
		_ = raw.Control(o.drain)
	}
	return o.count <= 0
}

func (o *openers) close() { _ = o.events.Close() }
