package sysfs

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// search finds firmware files as drivers/base/firmware_loader/main.c does, inside
// of a root folder. Compressed files (.zst, .xz) are not looked for.
type search struct {
	root    string
	release string // of the kernel: uname -r
	trim    bool   // a newline at the end of the parameter is not a part of the folder

	mu        sync.Mutex
	parameter string // firmware_class.path, as it was written
}

// kernelRelease is uname -r.
func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// pathSize is the size of firmware_class.path, its zero included.
const pathSize = 256

func (s *search) parameterFile() *file {
	return &file{
		name: "path", mode: 0o644, size: attributeSize,
		show: text(func() string {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.parameter + "\n"
		}),
		store: func(_ context.Context, value string) error {
			if len(value) >= pathSize {
				return errorf(unix.ENOSPC, "path: string doesn't fit in %d chars", pathSize-1)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.parameter = value // with its newline, if it has one
			return nil
		},
	}
}

// open is request_firmware. Whatever is wrong with a file, the next folder is
// tried; the error is the one of the last.
func (s *search) open(name string) ([]byte, error) {
	if strings.Contains("/"+name+"/", "/../") {
		return nil, errorf(unix.EINVAL, "Firmware load for '%s' refused, path contains '..' component", name)
	}
	s.mu.Lock()
	first := s.parameter
	s.mu.Unlock()
	if s.trim {
		first = strings.TrimSuffix(first, "\n")
	}
	var data []byte
	err := error(unix.ENOENT)
	for _, folder := range []string{
		first, "/lib/firmware/updates/" + s.release, "/lib/firmware/updates", "/lib/firmware/" + s.release, "/lib/firmware",
	} {
		if folder == "" {
			continue
		}
		if len(folder)+1+len(name) >= unix.PathMax {
			return nil, unix.ENAMETOOLONG
		}
		if data, err = s.read(folder + "/" + name); err == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("loading %s: %w", name, err)
}

// read is kernel_read_file_from_path_initns: a regular file that is not empty.
func (s *search) read(name string) ([]byte, error) {
	path, err := securejoin.SecureJoin(s.root, name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return nil, unix.EINVAL
	}
	return os.ReadFile(path)
}
