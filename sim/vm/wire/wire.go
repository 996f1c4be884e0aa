// Package wire is what the host and the virtual board's init say to each other
// over one byte stream: frames, many commands at once, each of their streams with
// its own flow control so that none holds up another.
//
// The guest speaks first: Boot. The host answers Hello, the guest mounts what it
// was told to and says Ready. Then the host sends Start with an identifier of its
// choice, and every later frame of that command carries it; Exit or Fail is the
// last one, and the identifier is free again. Quit asks the guest to flush its
// shares; its answer is Ready.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Type says what a frame means.
type Type uint8

// The types of frames, with their payload and who sends them.
const (
	Boot   Type = 1 + iota // guest: none, the init runs
	Hello                  // host: JSON Greeting
	Ready                  // guest: none
	Start                  // host: JSON Command
	Stdin                  // host: data; empty means end of file
	Signal                 // host: JSON int, the signal; negative: to the command's whole process group
	Resize                 // host: JSON Size of the terminal
	Stdout                 // guest: data
	Stderr                 // guest: data
	Credit                 // both: JSON Grant, data of a stream was consumed
	Exit                   // guest: JSON Status
	Fail                   // guest: JSON Failure, instead of Exit: nothing was started, or the guest cannot go on (identifier 0)
	Quit                   // host: none
)

// Limits of frames and streams.
const (
	// MaxPayload is the most that a frame carries, in bytes.
	MaxPayload = 64 << 10
	// Window is how many bytes of a stream may be on their way unconsumed.
	Window = 256 << 10

	headerSize = 12
)

// Greeting is what the guest must know before it serves.
type Greeting struct {
	Time   time.Time // of day
	Shares []Share
}

// Share is a host folder to mount.
type Share struct {
	Tag      string // of the 9p device
	Dir      string // absolute, in the guest
	ReadOnly bool
	Constant bool // the guest may keep all that it has read
}

// Command is what to run.
type Command struct {
	Args []string // the first is looked up in PATH of Env
	Env  []string // KEY=VALUE; the whole environment
	Dir  string   // empty: /
	// Terminal, if not nil, runs the command on a pseudo terminal of that size:
	// its output is all Stdout.
	Terminal *Size
}

// Size of a terminal, in characters.
type Size struct{ Rows, Columns uint16 }

// Grant says that Bytes of Stream were consumed.
type Grant struct {
	Stream Type // Stdin, Stdout or Stderr
	Bytes  int
}

// Status is how a command ended, and what it used.
type Status struct {
	Code   int // exit code, or -1 if ended by a signal
	Signal int // 0 if it exited by itself
	Wall   time.Duration
	User   time.Duration
	System time.Duration
	MaxRSS int64 // bytes
}

// Failure says why a command was not started.
type Failure struct {
	Code   int // 127: not found, 126: found but cannot be run, as shells say it; 125: anything else
	Reason string
}

// Frame is one message.
type Frame struct {
	Type    Type
	ID      uint32 // of the command; 0 where there is none
	Payload []byte
}

// Decode reads the JSON payload into v.
func (f Frame) Decode(v any) error {
	if err := json.Unmarshal(f.Payload, v); err != nil {
		return fmt.Errorf("frame of type %d: %w", f.Type, err)
	}
	return nil
}

// ErrFrame reports bytes that are no frame: the other side is not ours, or of
// another version.
var ErrFrame = errors.New("malformed frame")

// Read reads one frame. At the end of the stream it returns io.EOF, in the middle
// of a frame io.ErrUnexpectedEOF.
func Read(r io.Reader) (Frame, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Type: Type(header[0]), ID: binary.LittleEndian.Uint32(header[4:])}
	size := binary.LittleEndian.Uint32(header[8:])
	if f.Type < Boot || f.Type > Quit || header[1]|header[2]|header[3] != 0 || size > MaxPayload {
		return Frame{}, fmt.Errorf("%w: % x", ErrFrame, header)
	}
	if size == 0 {
		return f, nil
	}
	f.Payload = make([]byte, size)
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return f, nil
}

// Writer sends frames; it may be used by many at once.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends one frame of raw data, of MaxPayload at most.
func (w *Writer) Write(t Type, id uint32, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes, the limit is %d", ErrFrame, len(payload), MaxPayload)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// one write call for a frame: each costs a trip through the virtual device
	w.buf = append(w.buf[:0], byte(t), 0, 0, 0)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, id)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(payload)))
	w.buf = append(w.buf, payload...)
	_, err := w.w.Write(w.buf)
	return err
}

// Send sends one frame with v as JSON, or with no payload if v is nil.
func (w *Writer) Send(t Type, id uint32, v any) error {
	if v == nil {
		return w.Write(t, id, nil)
	}
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.Write(t, id, payload)
}
