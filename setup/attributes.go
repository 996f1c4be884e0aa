package setup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// accessList is the attribute that a file has of its folder's default ACL.
const accessList = "system.posix_acl_access"

// copyAttributes gives a new file the extended attributes of another one: its SELinux
// label, its ACL. One that cannot be given is an error, for without it an engine may not
// be allowed to read the file, or somebody else may. It is none where the file system has
// no such attributes.
func copyAttributes(f *os.File, like string) error {
	names, err := attributes(like)
	if err != nil {
		return fmt.Errorf("its extended attributes: %w", err)
	}
	fd := int(f.Fd())
	for _, name := range names {
		value, err := attribute(func(b []byte) (int, error) { return unix.Lgetxattr(like, name, b) })
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("its attribute %s: %w", name, err)
		}
		have, err := attribute(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if err == nil && bytes.Equal(have, value) {
			continue // it came with the folder, and may not need a right
		}
		if err := unix.Fsetxattr(fd, name, value, 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("its attribute %s cannot be kept: %w", name, err)
		}
	}
	if slices.Contains(names, accessList) {
		return nil
	}
	err = unix.Fremovexattr(fd, accessList)
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("the ACL of its folder cannot be taken off: %w", err)
	}
	return nil
}

// attributes are the names of a file's attributes, but for those that the kernel makes of
// its bytes, which become others.
func attributes(file string) ([]string, error) {
	list, err := attribute(func(b []byte) (int, error) { return unix.Llistxattr(file, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := strings.FieldsFunc(string(list), func(r rune) bool { return r == 0 })
	return slices.DeleteFunc(names, func(name string) bool { return name == "security.ima" || name == "security.evm" }), nil
}

// attribute calls get with a buffer that is large enough: that may change meanwhile.
func attribute(get func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := get(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = get(b)
		if !errors.Is(err, unix.ERANGE) {
			return b[:max(n, 0)], err
		}
	}
}
