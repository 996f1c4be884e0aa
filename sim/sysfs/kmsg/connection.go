package kmsg

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// connection is the log's file system: its requests are answered by one goroutine,
// and those of reads that wait by whoever logs.
type connection struct {
	fd    int
	born  time.Time
	ended chan struct{}

	mu      sync.Mutex
	ring    ring
	last    uint64 // handle
	open    map[uint64]*file
	waiting []request // reads without O_NONBLOCK
}

type file struct {
	reader
	poll   uint64 // the kernel's name of the file, for who polls it
	polled bool   // somebody waits to be told
}

// connect mounts the file system on a file.
func connect(path string, limit int) (*connection, error) {
	// O_CLOEXEC: else whatever this process starts keeps the connection alive
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other,default_permissions", fd, unix.S_IFREG)
	if err := unix.Mount("kmsg", path, "fuse.kmsg", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("mount %s (needs root and /dev/fuse): %w", path, err)
	}
	c := &connection{fd: fd, born: time.Now(), ended: make(chan struct{}), ring: ring{limit: limit}, open: map[uint64]*file{}}
	go c.serve()
	return c, nil
}

// serve answers until the file is unmounted.
func (c *connection) serve() {
	defer close(c.ended)
	defer func() {
		c.mu.Lock() // who prints from now on finds nobody open
		defer c.mu.Unlock()
		c.open, c.waiting = nil, nil
		unix.Close(c.fd)
	}()
	b := make([]byte, maxRequest)
	for {
		n, err := unix.Read(c.fd, b)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOENT) {
			continue // ENOENT: the request was interrupted before we had it
		}
		if err != nil {
			return
		}
		if r, ok := parse(b[:n]); ok {
			c.handle(r)
		}
	}
}

func (c *connection) handle(r request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.op {
	case opForget, opBatchForget:
		return
	case opInterrupt:
		c.interrupt(r.u64(0))
		return
	case opRead:
		c.read(r)
		return
	}
	body, err := c.answer(r)
	c.reply(r.unique, body, err)
}

// answer is the answer to a request that does not wait.
func (c *connection) answer(r request) ([]byte, error) {
	switch r.op {
	case opInit:
		return initOut(), nil
	case opGetattr:
		if f := c.open[r.u64(8)]; f != nil && r.u32(0)&getattrOfFile != 0 {
			c.ring.seekEnd(&f.reader) // nothing else asks for the size of an open file
		}
		return attrOut(c.ring.end, c.born), nil
	case opSetattr: // of O_TRUNC
		return attrOut(c.ring.end, c.born), nil
	case opOpen:
		c.last++
		c.open[c.last] = &file{reader: *c.ring.open()}
		return append(words(uint32(c.last), uint32(c.last>>32)), words(openDirect, 0)...), nil
	case opRelease:
		delete(c.open, r.u64(0))
		return nil, nil
	case opPoll:
		f := c.open[r.u64(0)]
		if f == nil {
			return nil, unix.EBADF
		}
		if r.u32(16)&scheduleNotify != 0 {
			f.poll, f.polled = r.u64(8), true
		}
		return words(c.ring.events(&f.reader), 0), nil
	case opWrite:
		return c.write(r)
	case opStatfs:
		return make([]byte, 80), nil
	case opFlush, opDestroy:
		return nil, nil
	}
	return nil, unix.ENOSYS
}

// write is devkmsg_write: a process logs a line.
func (c *connection) write(r request) ([]byte, error) {
	const header = 40 // of fuse_write_in
	size := int(r.u32(16))
	if size > len(r.body)-header {
		return nil, unix.EINVAL
	}
	text := strings.TrimSuffix(string(r.body[header:][:size]), "\n")
	c.log(user|Warning, text, "")
	return words(uint32(size), 0), nil
}

// read answers a read, or keeps it until there is a record.
func (c *connection) read(r request) {
	f := c.open[r.u64(0)]
	if f == nil {
		c.reply(r.unique, nil, unix.EBADF)
		return
	}
	b, err := c.ring.read(&f.reader, int64(r.u64(8)), int(r.u32(16)))
	if errors.Is(err, unix.EAGAIN) && r.u32(32)&unix.O_NONBLOCK == 0 {
		r.body = append([]byte(nil), r.body...) // the buffer is used again
		c.waiting = append(c.waiting, r)
		return
	}
	c.reply(r.unique, b, err)
}

// interrupt ends a read that waits: a signal came for who reads.
func (c *connection) interrupt(unique uint64) {
	for i, r := range c.waiting {
		if r.unique == unique {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			c.reply(unique, nil, unix.EINTR)
			return
		}
	}
}

// print logs a record and wakes who waits for one.
func (c *connection) print(priority int, text, properties string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log(priority, text, properties)
}

// log is print; the caller holds mu.
func (c *connection) log(priority int, text, properties string) {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	c.ring.add(priority, now.Nano()/1000, text, properties)
	waiting := c.waiting
	c.waiting = nil
	for _, r := range waiting {
		c.read(r)
	}
	for _, f := range c.open {
		if f.polled {
			f.polled = false // asked for anew with every poll
			c.send(message(0, notifyPoll, words(uint32(f.poll), uint32(f.poll>>32))))
		}
	}
}

func (c *connection) reply(unique uint64, body []byte, err error) {
	code := int32(0)
	if err != nil {
		errno := unix.EIO
		var e syscall.Errno
		if errors.As(err, &e) {
			errno = e
		}
		code, body = -int32(errno), nil
	}
	c.send(message(unique, code, body))
}

// send writes to the kernel. What it refuses is for somebody who is gone.
func (c *connection) send(b []byte) {
	for {
		if _, err := unix.Write(c.fd, b); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
