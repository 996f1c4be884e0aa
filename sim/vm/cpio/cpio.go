// Package cpio writes archives in the format which the kernel unpacks as its
// initial file system: "newc", Linux Documentation/driver-api/early-userspace/buffer-format.rst.
package cpio

import (
	"fmt"
	"io"
	"io/fs"
	"path"
)

// Writer writes an archive. Close ends it.
type Writer struct {
	w       io.Writer
	n       int64 // bytes written
	inode   uint32
	folders map[string]bool
	err     error
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, folders: map[string]bool{}} }

// Types of files, as in st_mode: inode(7).
const (
	typeFolder  = 0o040000
	typeFile    = 0o100000
	typeSymlink = 0o120000
	typeChar    = 0o020000
)

// File adds a file, and the folders above it. The name has no slash in front.
func (w *Writer) File(name string, perm fs.FileMode, data []byte) error {
	return w.entry(name, typeFile|uint32(perm.Perm()), data, 0, 0)
}

// Symlink adds a symbolic link to target.
func (w *Writer) Symlink(name, target string) error {
	return w.entry(name, typeSymlink|0o777, []byte(target), 0, 0)
}

// Folder adds a folder, unless it is there.
func (w *Writer) Folder(name string) error {
	if name == "." || w.folders[name] {
		return w.err
	}
	w.folders[name] = true
	return w.entry(name, typeFolder|0o755, nil, 0, 0)
}

// Char adds a character device.
func (w *Writer) Char(name string, perm fs.FileMode, major, minor uint32) error {
	return w.entry(name, typeChar|uint32(perm.Perm()), nil, major, minor)
}

// Close writes the end of the archive; it does not close the writer below.
func (w *Writer) Close() error { return w.header("TRAILER!!!", 0, 0, 0, 0, 0) }

func (w *Writer) entry(name string, mode uint32, data []byte, major, minor uint32) error {
	if !fs.ValidPath(name) || name == "." {
		return fmt.Errorf("cpio: invalid name %q", name)
	}
	if err := w.Folder(path.Dir(name)); err != nil {
		return err
	}
	w.inode++
	if int64(len(data)) > 1<<32-1 {
		return fmt.Errorf("cpio: %s is too large: %d bytes", name, len(data))
	}
	if err := w.header(name, mode, w.inode, uint32(len(data)), major, minor); err != nil {
		return err
	}
	w.write(data)
	w.pad()
	return w.err
}

func (w *Writer) header(name string, mode, inode, size, major, minor uint32) error {
	links := 1
	if mode&typeFolder != 0 {
		links = 2
	}
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, device, rdevice, namesize with its zero, check
	w.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, len(name)+1, 0))
	w.write([]byte(name + "\x00"))
	w.pad()
	return w.err
}

// pad aligns to four bytes.
func (w *Writer) pad() { w.write(make([]byte, -w.n&3)) }

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.n += int64(n)
	w.err = err
}
