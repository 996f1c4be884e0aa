package setup

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// acl is one as the kernel has it: the owner, one more user, the group, the mask, others.
func acl(user uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 6, ^uint32(0)}, {0x02, 4, user}, {0x04, 4, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// A file that is written anew, and what is kept of it, have its attributes: of those that
// this file system and our rights allow.
func TestAttributes(t *testing.T) {
	m := image(t)
	write(t, m, dockerConfig, "{}\n", 0o640)
	file := filepath.Join(m.Root, dockerConfig)
	given := map[string][]byte{}
	for name, value := range map[string][]byte{
		"user.origin":      []byte("factory"),
		"user.empty":       nil,
		"security.selinux": []byte("system_u:object_r:container_config_t:s0\x00"),
		"trusted.origin":   []byte("factory"),
		accessList:         acl(12345),
	} {
		switch err := unix.Setxattr(file, name, value, 0); {
		case err == nil:
			given[name] = value
		case !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM):
			t.Fatalf("%s: %v", name, err)
		}
	}
	if len(given) == 0 {
		t.Fatalf("%s takes no attributes at all: choose another TMPDIR", m.Root)
	}
	check := func(file string) {
		t.Helper()
		for name, want := range given {
			have, err := attribute(func(b []byte) (int, error) { return unix.Lgetxattr(file, name, b) })
			if err != nil || !slices.Equal(have, want) {
				t.Errorf("%s of %s: %q, %v, want %q", name, file, have, err, want)
			}
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%v, %v", info, err)
		}
	}
	o := Options{Machine: m, Engines: []string{Docker}}
	if _, err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	check(file)
	check(file + backupSuffix)
	if _, err := Uninstall(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	check(file)
	t.Logf("%d attributes are kept", len(given))
}

// The default ACL of the folder gives nobody a file that was not theirs.
func TestNoForeignACL(t *testing.T) {
	m := image(t)
	write(t, m, dockerConfig, "{}\n", 0o640)
	file := filepath.Join(m.Root, dockerConfig)
	list := acl(12345)
	if err := unix.Setxattr(filepath.Dir(file), "system.posix_acl_default", list, 0); err != nil {
		t.Fatalf("%v: choose another TMPDIR", err)
	}
	if _, err := Install(context.Background(), Options{Machine: m, Engines: []string{Docker}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, file + backupSuffix} {
		if names, err := attributes(name); err != nil || slices.Contains(names, accessList) {
			t.Errorf("%s has %q, %v", name, names, err)
		}
	}
}
