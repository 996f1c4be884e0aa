package sysfs

import (
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// serve mounts a tree on a folder.
func serve(dir string, root *folder) (*fuse.Server, error) {
	options := &fs.Options{
		NullPermissions: true,
		MountOptions: fuse.MountOptions{
			FsName: "remoteproc", Name: "hybrid-sim",
			DirectMountStrict: true,
			AllowOther:        true,
			Options:           []string{"default_permissions"},
			DisableXAttrs:     true,
			// it logs replies to those who were interrupted meanwhile
			Logger: log.New(io.Discard, "", 0),
		},
	}
	server, err := connect(dir, fs.NewNodeFS(root, options), &options.MountOptions)
	if err != nil {
		return nil, err
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return nil, errors.Join(err, server.Unmount())
	}
	return server, nil
}

// connect opens the connection to the kernel, and keeps it from the processes that
// this one starts. The library does not; then, when this process is killed, whatever
// it started keeps the connection alive, and all who read a file wait for ever.
func connect(dir string, files fuse.RawFileSystem, options *fuse.MountOptions) (*fuse.Server, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	server, err := fuse.NewServer(files, dir, options)
	if err != nil {
		return nil, err
	}
	descriptors, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return nil, err
	}
	for _, d := range descriptors {
		if target, _ := os.Readlink(d); target != "/dev/fuse" {
			continue
		}
		if fd, err := strconv.Atoi(filepath.Base(d)); err == nil {
			syscall.CloseOnExec(fd)
		}
	}
	return server, nil
}
