package deviceplugin

import (
	"os"
	"syscall"
)

// file is which file a name means, zero if there is none: a new kubelet has a new
// socket by the same name. It has the time too, as numbers of inodes are used again.
type file struct {
	device, inode uint64
	changed       int64
}

func fileOf(name string) file {
	info, err := os.Lstat(name)
	if err != nil {
		return file{}
	}
	f := file{changed: info.ModTime().UnixNano()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		f.device, f.inode = uint64(stat.Dev), stat.Ino //nolint:unconvert // it is narrower on some machines
	}
	return f
}
