package monitor

import (
	"bytes"
	"os"
	"path/filepath"
	"time"
)

// Names of the files of a container's log in its folder: what the firmware wrote,
// and what the monitor had to say about it. A line of them is an entry in the form
// that Kubernetes gives the logs of containers:
//
//	2026-11-25T18:40:00.123456789Z stdout F what the firmware wrote
//
// with stderr for the monitor's own words, and P instead of F where the line goes on
// in the stream's next entry.
const (
	ConsoleLog    = "console.log"
	ConsoleOldLog = "console.log.1" // what was written before ConsoleLog
)

// Streams and tags of an entry.
const (
	Stdout  = "stdout"
	Stderr  = "stderr"
	Full    = "F"
	Partial = "P"
)

// maxLog is the size at which ConsoleLog becomes ConsoleOldLog, in bytes: the two
// are in tmpfs, and it is memory that they take.
const maxLog = 256 << 10

// maxEntry is how much of a line one entry takes, in bytes.
const maxEntry = 16 << 10

// logFile is a log that is bounded on disk.
type logFile struct {
	dir  string
	file *os.File
	size int
	now  func() time.Time
	buf  []byte
}

// write adds text of a stream. It loses what cannot be written: a full disk keeps no
// firmware from running.
func (l *logFile) write(stream string, text []byte) {
	stamp := l.now().UTC()
	for len(text) > 0 {
		line, tag := text, Partial
		n := bytes.IndexByte(text, '\n')
		if n >= 0 {
			line, tag = text[:n], Full
		}
		if len(line) > maxEntry {
			line, tag = line[:maxEntry], Partial
		}
		text = text[len(line):]
		if tag == Full {
			text = text[1:]
		}
		e := stamp.AppendFormat(l.buf[:0], time.RFC3339Nano)
		e = append(append(append(append(e, ' '), stream...), ' '), tag...)
		e = append(append(append(e, ' '), line...), '\n')
		l.buf = e
		if err := l.add(e); err != nil {
			return
		}
	}
}

func (l *logFile) add(entry []byte) error {
	if l.file == nil || l.size+len(entry) > maxLog {
		if err := l.turn(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(entry)
	l.size += n
	return err
}

// turn starts a new file, and keeps the one before.
func (l *logFile) turn() error {
	name := filepath.Join(l.dir, ConsoleLog)
	if l.file != nil {
		l.file.Close()
		l.file = nil
		if err := os.Rename(name, filepath.Join(l.dir, ConsoleOldLog)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	l.file, l.size = f, 0
	return nil
}
