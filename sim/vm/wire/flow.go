package wire

import (
	"io"
	"sync"
)

// Outbox is the sending end of a stream: it stops the sender when a Window is on
// its way.
type Outbox struct {
	mu     sync.Mutex
	cond   sync.Cond
	credit int
	closed bool
}

// NewOutbox returns an Outbox with a whole Window of credit.
func NewOutbox() *Outbox {
	o := &Outbox{credit: Window}
	o.cond.L = &o.mu
	return o
}

// Reserve waits until something may be sent, and takes at most limit bytes of the
// credit. It returns 0 after Close.
func (o *Outbox) Reserve(limit int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.credit == 0 && !o.closed {
		o.cond.Wait()
	}
	if o.closed {
		return 0
	}
	n := min(limit, o.credit)
	o.credit -= n
	return n
}

// Grant gives n bytes of credit back. More than the Window there never is,
// whatever the other side says.
func (o *Outbox) Grant(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n > 0 {
		o.credit = min(o.credit+min(n, Window), Window)
		o.cond.Broadcast()
	}
}

// Close ends all waiting, now and later.
func (o *Outbox) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.cond.Broadcast()
}

// Inbox is the receiving end of a stream: it takes what arrives without waiting,
// which the sender's Outbox keeps below a Window.
type Inbox struct {
	mu     sync.Mutex
	cond   sync.Cond
	chunks [][]byte
	closed bool
}

// NewInbox returns an empty Inbox.
func NewInbox() *Inbox {
	i := &Inbox{}
	i.cond.L = &i.mu
	return i
}

// Put adds a chunk, which the Inbox keeps. After Close it does nothing.
func (i *Inbox) Put(chunk []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closed {
		i.chunks = append(i.chunks, chunk)
		i.cond.Broadcast()
	}
}

// Close marks the end: what is there may still be taken.
func (i *Inbox) Close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	i.cond.Broadcast()
}

// Copy writes all chunks to w until the end, and calls consumed after each. After
// an error of w it goes on taking chunks, so that the sender is not held up, and
// returns that error in the end.
func (i *Inbox) Copy(w io.Writer, consumed func(n int)) error {
	var failed error
	for {
		i.mu.Lock()
		for len(i.chunks) == 0 && !i.closed {
			i.cond.Wait()
		}
		chunks := i.chunks
		i.chunks = nil
		i.mu.Unlock()
		if len(chunks) == 0 {
			return failed
		}
		for _, c := range chunks {
			if failed == nil && w != nil {
				_, failed = w.Write(c)
			}
			consumed(len(c))
		}
	}
}
