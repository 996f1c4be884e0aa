package sysfs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// This file is all that knows FUSE.

// folder is a folder whose entries stay, and with a core also that core's traces.
type folder struct {
	fs.Inode
	mode    uint32
	entries []entry
	core    *Core
	live    func() []*liveEntry // what is there now besides, nil for nothing
}

// liveEntry is an entry that comes and goes, in one folder.
type liveEntry struct {
	entry
	once sync.Once // makes the inode
}

func liveFolder(name string, d *folder) *liveEntry {
	return &liveEntry{entry: entry{name, d, syscall.S_IFDIR}}
}

func liveLink(name, target string) *liveEntry {
	return &liveEntry{entry: entry{name, newLink(target), syscall.S_IFLNK}}
}

func newLink(target string) *fs.MemSymlink {
	return &fs.MemSymlink{Attr: fuse.Attr{Mode: 0o777}, Data: []byte(target)}
}

type entry struct {
	name string
	node fs.InodeEmbedder
	kind uint32
}

// forever is as long as a mount may last.
const forever = 24 * time.Hour

func newFolder(mode uint32) *folder { return &folder{mode: mode} }

func (d *folder) add(name string, child *folder) *folder {
	d.entries = append(d.entries, entry{name, child, syscall.S_IFDIR})
	return d
}

func (d *folder) addFile(f *file) *folder {
	d.entries = append(d.entries, entry{f.name, &fileNode{file: f}, syscall.S_IFREG})
	return d
}

func (d *folder) addLink(name, target string) *folder {
	d.entries = append(d.entries, entry{name, newLink(target), syscall.S_IFLNK})
	return d
}

// OnAdd builds what is below. Inodes stay the same as long as the mount does, so
// that flock(2) works between those who open a file or folder each for themselves.
func (d *folder) OnAdd(ctx context.Context) {
	for _, e := range d.entries {
		d.AddChild(e.name, d.NewPersistentInode(ctx, e.node, fs.StableAttr{Mode: e.kind}), false)
	}
}

func (d *folder) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink = d.mode, 2
	out.SetTimeout(forever)
	return fs.OK
}

// Lookup finds entries and traces. A trace of another boot is another file.
func (d *folder) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	for _, e := range d.entries {
		if e.name != name {
			continue
		}
		var attr fuse.AttrOut
		errno := e.node.(fs.NodeGetattrer).Getattr(ctx, nil, &attr)
		out.Attr = attr.Attr
		// the kernel may keep what stays: the real one asks nobody either
		out.SetEntryTimeout(forever)
		out.SetAttrTimeout(forever)
		return e.node.EmbeddedInode(), errno
	}
	for _, e := range d.lives() {
		if e.name != name {
			continue
		}
		e.once.Do(func() { d.NewPersistentInode(ctx, e.node, fs.StableAttr{Mode: e.kind}) })
		var attr fuse.AttrOut
		errno := e.node.(fs.NodeGetattrer).Getattr(ctx, nil, &attr)
		out.Attr = attr.Attr
		return e.node.EmbeddedInode(), errno
	}
	for i, t := range d.traces() {
		if name != traceName(i) {
			continue
		}
		node := &fileNode{file: &file{
			name: name, mode: 0o400,
			show: func() ([]byte, error) { return d.core.readTrace(t) },
		}}
		out.Mode, out.Nlink = node.file.mode, 1
		return d.NewInode(ctx, node, fs.StableAttr{Mode: syscall.S_IFREG, Ino: t.inode}), fs.OK
	}
	return nil, syscall.ENOENT
}

func (d *folder) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	for _, e := range d.entries {
		list = append(list, fuse.DirEntry{Name: e.name, Mode: e.kind, Ino: e.node.EmbeddedInode().StableAttr().Ino})
	}
	for _, e := range d.lives() {
		list = append(list, fuse.DirEntry{Name: e.name, Mode: e.kind})
	}
	for i, t := range d.traces() {
		list = append(list, fuse.DirEntry{Name: traceName(i), Mode: syscall.S_IFREG, Ino: t.inode})
	}
	return fs.NewListDirStream(list), fs.OK
}

func (d *folder) lives() []*liveEntry {
	if d.live == nil {
		return nil
	}
	return d.live()
}

func (d *folder) traces() []*trace {
	if d.core == nil {
		return nil
	}
	return d.core.traceBuffers()
}

func traceName(i int) string { return fmt.Sprintf("trace%d", i) }

// Create refuses what sysfs refuses, and with its errno: whoever opens a missing
// attribute with O_CREAT is told of a permission, not of the file.
func (d *folder) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EACCES
}

// Nothing can be removed, renamed or added, as in sysfs. Without these methods the
// library would do it, in memory.

func (d *folder) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }

func (d *folder) Rmdir(context.Context, string) syscall.Errno { return syscall.EPERM }

func (d *folder) Rename(context.Context, string, fs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EPERM
}

func (d *folder) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

// fileNode is a file in the tree.
type fileNode struct {
	fs.Inode
	file *file
}

func (n *fileNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size, out.Nlink = n.file.mode, n.file.size, 1
	out.SetTimeout(forever)
	return fs.OK
}

// Setattr accepts O_TRUNC, and changes nothing: so does sysfs. Modes and owners are
// those of the kernel.
func (n *fileNode) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	const owner = fuse.FATTR_MODE | fuse.FATTR_UID | fuse.FATTR_GID
	if in.Valid&owner != 0 {
		return syscall.EPERM
	}
	return n.Getattr(ctx, f, out)
}

// Open refuses root too what a file cannot do; the page cache never sees a file.
func (n *fileNode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	access := flags & syscall.O_ACCMODE
	if n.file.size == attributeSize && (access != syscall.O_RDONLY && n.file.store == nil || access != syscall.O_WRONLY && n.file.show == nil) {
		return nil, 0, syscall.EACCES
	}
	return nil, fuse.FOPEN_DIRECT_IO, fs.OK
}

func (n *fileNode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if n.file.readAt != nil {
		size, err := n.file.readAt(dest, off)
		if err != nil {
			return nil, errnoOf(err)
		}
		return fuse.ReadResultData(dest[:size]), fs.OK
	}
	if n.file.show == nil {
		return nil, syscall.EINVAL
	}
	b, err := n.file.show()
	if err != nil {
		return nil, errnoOf(err)
	}
	b = b[min(off, int64(len(b))):]
	return fuse.ReadResultData(b[:min(len(b), len(dest))]), fs.OK
}

// Write makes one store of what one write(2) wrote, at any offset, up to a page.
func (n *fileNode) Write(ctx context.Context, _ fs.FileHandle, data []byte, _ int64) (uint32, syscall.Errno) {
	if n.file.store == nil {
		return 0, syscall.EINVAL
	}
	data = data[:min(len(data), attributeSize)]
	value, _, _ := strings.Cut(string(data), "\x00")
	if err := n.file.store(ctx, value); err != nil {
		return 0, errnoOf(err)
	}
	return uint32(len(data)), fs.OK
}

var (
	_ fs.NodeLookuper  = (*folder)(nil)
	_ fs.NodeReaddirer = (*folder)(nil)
	_ fs.NodeCreater   = (*folder)(nil)
	_ fs.NodeOnAdder   = (*folder)(nil)
	_ fs.NodeUnlinker  = (*folder)(nil)
	_ fs.NodeRmdirer   = (*folder)(nil)
	_ fs.NodeRenamer   = (*folder)(nil)
	_ fs.NodeMkdirer   = (*folder)(nil)
	_ fs.NodeGetattrer = (*folder)(nil)
	_ fs.NodeGetattrer = (*fileNode)(nil)
	_ fs.NodeSetattrer = (*fileNode)(nil)
	_ fs.NodeOpener    = (*fileNode)(nil)
	_ fs.NodeReader    = (*fileNode)(nil)
	_ fs.NodeWriter    = (*fileNode)(nil)
)
