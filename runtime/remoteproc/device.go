package remoteproc

import (
	"os"

	"golang.org/x/sys/unix"
)

// setShutdownOnRelease is _IOW(0xB7, 1, __s32), include/uapi/linux/remoteproc_cdev.h.
const setShutdownOnRelease = 1<<30 | 4<<16 | 0xB7<<8 | 1

// Device is a processor's character device, there with CONFIG_REMOTEPROC_CDEV.
type Device struct{ f *os.File }

// Device opens the character device. Without one the error wraps fs.ErrNotExist.
func (p *Processor) Device() (*Device, error) {
	f, err := os.OpenFile(p.dev, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return &Device{f}, nil
}

// ShutdownOnRelease makes the kernel shut the core down when the device is closed,
// be it by the death of the process: a running core is stopped, an attached one
// detached. The setting is the core's, not the descriptor's.
func (d *Device) ShutdownOnRelease(on bool) error {
	v := 0
	if on {
		v = 1
	}
	return os.NewSyscallError("ioctl", unix.IoctlSetPointerInt(int(d.f.Fd()), setShutdownOnRelease, v))
}

// Close closes the device, and with ShutdownOnRelease stops a running core.
func (d *Device) Close() error { return d.f.Close() }
