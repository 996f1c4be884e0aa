//go:build kernel

package bundle

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A device is not opened: reading some has effects. Making one takes root.
func TestDevice(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{
		"config.json": `{"ociVersion": "1.0.2", "process": {"args": ["fw.elf"], "cwd": "/"}, "root": {"path": "rootfs"}}`,
		"rootfs/":     "",
	})
	for name, mode := range map[string]uint32{"fw.elf": unix.S_IFCHR, "disk": unix.S_IFBLK} {
		if err := unix.Mknod(filepath.Join(dir, "rootfs", name), mode|0o600, int(unix.Mkdev(1, 5))); err != nil {
			t.Fatal(err)
		}
	}
	fw, err := within(t, func() (*Firmware, error) { return FromBundle(dir, nil) })
	check(t, fw, err, "/fw.elf is not a regular file")
	fw, err = within(t, func() (*Firmware, error) { return FromPath(filepath.Join(dir, "rootfs/disk")) })
	check(t, fw, err, "disk is not a regular file")
	fw, err = within(t, func() (*Firmware, error) { return FromPath(filepath.Join(dir, "rootfs")) })
	check(t, fw, err, "no ELF file in ")
}
