package remoteproc

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// TTYs lists the names of the terminals that the firmware of the processor has made
// by announcing the rpmsg channel rpmsg-tty: drivers/tty/rpmsg_tty.c. Their devices
// are below the processor's. They come some time after a start, and go with a stop.
func (h Host) TTYs(p *Processor) []string {
	class := h.path("sys/class/tty")
	entries, err := os.ReadDir(class)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "ttyRPMSG") {
			continue
		}
		device, err := os.Readlink(filepath.Join(class, e.Name()))
		if err == nil && strings.Contains(device, "/"+p.Instance+"/") {
			names = append(names, e.Name())
		}
	}
	return names
}

// OpenTTY opens a terminal as a plain channel of bytes: nothing is echoed, changed or
// taken for a signal.
func (h Host) OpenTTY(name string) (*os.File, error) {
	f, err := os.OpenFile(h.path("dev/"+name), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { err = makeRaw(int(fd)) })
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "make raw", Path: f.Name(), Err: err}
	}
	return f, nil
}

// makeRaw is cfmakeraw(3).
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
