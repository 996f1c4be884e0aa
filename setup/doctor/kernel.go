package doctor

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// maxConfig bounds a kernel's configuration; they have a quarter of a megabyte.
const maxConfig = 8 << 20

// drivers are the options of the drivers, by how the compatible strings of their
// processors begin: drivers/remoteproc/Kconfig.
var drivers = []struct{ compatible, option string }{
	{"fsl,", "IMX_REMOTEPROC"},
	{"st,", "STM32_RPROC"},
	{"ti,am64-m4", "TI_K3_M4_REMOTEPROC"},
	{"ti,", "TI_K3_R5_REMOTEPROC"},
	{"xlnx,", "XLNX_R5_REMOTEPROC"},
	{"renesas,", "RCAR_REMOTEPROC"},
}

// kernel is how the kernel was configured.
func (x *examination) kernel(processors []*remoteproc.Processor, identity board.Identity) {
	config, from, err := x.kernelConfig()
	if err != nil {
		x.warning("kernel", "", "its configuration cannot be read: "+err.Error(), "modprobe configs, or build it with CONFIG_IKCONFIG_PROC")
		return
	}
	has := func(option string) bool { return config[option] == "y" || config[option] == "m" }
	missing := 0
	want := func(option, without string, essential bool) {
		switch {
		case has(option):
		case essential && len(processors) == 0:
			missing++
			x.error("kernel", "CONFIG_"+option, "not set: "+without, "use a kernel with CONFIG_"+option)
		case !essential:
			missing++
			x.warning("kernel", "CONFIG_"+option, "not set: "+without, "use a kernel with CONFIG_"+option+"=y")
		}
	}
	want("REMOTEPROC", "this kernel knows no remote processors", true)
	if b := identity.Board(); b != nil {
		wanted := map[string]bool{}
		for _, core := range b.Cores {
			for _, d := range drivers {
				if strings.HasPrefix(core.Compatible, d.compatible) {
					if !wanted[d.option] {
						want(d.option, "the driver of this board's "+core.MCU, true)
					}
					wanted[d.option] = true
					break
				}
			}
		}
	}
	want("REMOTEPROC_CDEV", "if a container's monitor is killed its core runs on until the next command", false)
	want("RPMSG_TTY", "firmware has no terminals, and its output is what its trace buffer holds", false)
	if missing == 0 {
		x.ok("kernel", "", from+" has what is wanted")
	}
}

// kernelConfig are the options of the kernel, and the file that says them.
func (x *examination) kernelConfig() (options map[string]string, from string, err error) {
	release, err := os.ReadFile(x.path("proc/sys/kernel/osrelease"))
	if err != nil {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return nil, "", os.NewSyscallError("uname", err)
		}
		release = bytes.TrimRight(u.Release[:], "\x00")
	}
	names := []string{"/proc/config.gz", "/boot/config-" + strings.TrimSpace(string(release))}
	for _, name := range names {
		f, err := os.Open(x.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				return nil, "", fmt.Errorf("%s: %w", name, err)
			}
		}
		text, err := io.ReadAll(io.LimitReader(r, maxConfig))
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", name, err)
		}
		options = map[string]string{}
		for line := range strings.Lines(string(text)) {
			if option, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				options[strings.TrimPrefix(option, "CONFIG_")] = value
			}
		}
		return options, name, nil
	}
	return nil, "", fmt.Errorf("neither %s is there", strings.Join(names, " nor "))
}
