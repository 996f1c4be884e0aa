package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Base makes the base image that firmware is compiled in, as an OCI layout, so that
// builds need no registry.
type Base struct {
	// RootFS is a tar of a root file system to make the image of; "-" is standard
	// input. Empty: Debian and basePackages, through mmdebstrap.
	RootFS string
	// Progress takes lines for people; nil for none.
	Progress io.Writer
}

// bootstrapEnds is how long mmdebstrap has to clean up after a signal before it is
// killed: it removes a root file system of 1 GB.
const bootstrapEnds = 30 * time.Second

const (
	baseSuite = "bookworm"
	// baseName is what engines call the image if they load it.
	baseName = "hybrid/baremetal-toolchain"
)

// basePackages are what baremetal.Dockerfile installs, so that either base gives
// the same firmware.
var basePackages = []string{"gcc-arm-none-eabi", "libnewlib-arm-none-eabi", "make"}

// Make writes the layout to the folder dest, which must not exist or be a layout
// that it replaces, and returns the digest of the image's manifest. With the same
// packages the digest is the same.
func (b *Base) Make(ctx context.Context, dest string) (digest.Digest, error) {
	if b.Progress == nil {
		b.Progress = io.Discard
	}
	if err := replaceable(dest); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dest)), 0o777); err != nil {
		return "", err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dest)), "."+filepath.Base(dest)+".")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, 0o755); err != nil {
		return "", err
	}
	dgst, err := b.write(ctx, temporary)
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(dest); err != nil {
		return "", err
	}
	return dgst, os.Rename(temporary, dest)
}

// replaceable refuses to remove what is not a layout.
func replaceable(dest string) error {
	if _, err := os.Stat(dest); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if entries, err := os.ReadDir(dest); err == nil && len(entries) == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dest, "oci-layout")); err != nil {
		return fmt.Errorf("%s is there and is no OCI layout: name a new folder", dest)
	}
	return nil
}

func (b *Base) write(ctx context.Context, layout string) (digest.Digest, error) {
	switch b.RootFS {
	case "":
		return b.fromDebian(ctx, layout)
	case "-":
		return writeLayout(ctx, layout, baseName, os.Stdin)
	}
	f, err := os.Open(b.RootFS)
	if err != nil {
		return "", err
	}
	defer f.Close()
	dgst, err := writeLayout(ctx, layout, baseName, f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", b.RootFS, err)
	}
	return dgst, nil
}

// fromDebian pipes mmdebstrap's tar into the layout: it is on no disk in between.
func (b *Base) fromDebian(ctx context.Context, layout string) (_ digest.Digest, err error) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return "", errors.New("the base image is made with mmdebstrap, which is not in PATH: " +
			"install it (apt-get install mmdebstrap), or give a root file system with --rootfs")
	}
	args := []string{"--variant=minbase", "--format=tar", "--include=" + strings.Join(basePackages, ",")}
	for _, path := range unread {
		args = append(args, "--dpkgopt=path-exclude=/"+path)
	}
	args = append(args, baseSuite, "-")
	args = append(args, mirrors(ctx)...)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	// it mounts: SIGINT lets it clean up, where SIGKILL would not
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = bootstrapEnds
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=0")
	cmd.Stderr = b.Progress
	rootfs, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("mmdebstrap: %w", err)
	}
	dgst, err := writeLayout(ctx, layout, baseName, rootfs)
	if err != nil {
		cancel()
	} else {
		_, _ = io.Copy(io.Discard, rootfs) // tar's padding
	}
	if waited := cmd.Wait(); waited != nil {
		// what mmdebstrap says is why the tar is cut short, not the other way round
		return "", fmt.Errorf("mmdebstrap: %w", waited)
	}
	return dgst, err
}

// unread are the files, as patterns of dpkg, that no build of firmware reads: texts,
// and the libraries of cores that never are remote processors (Cortex-A, Arm9), a
// quarter of the whole.
var unread = []string{
	"usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*",
	"usr/bin/arm-none-eabi-lto-dump",
	"usr/lib/*arm-none-eabi/*/arm/v5te/*",
	"usr/lib/*arm-none-eabi/*/thumb/v7-a*",
	"usr/lib/*arm-none-eabi/*/thumb/v7ve*",
	"usr/lib/*arm-none-eabi/*/thumb/v8-a*",
}

// mirrors are the machine's own sources of the suite, as lines for mmdebstrap; none
// if it is not such a Debian, and mmdebstrap uses its default.
func mirrors(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets",
		"--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		return nil
	}
	return mirrorLines(string(out))
}

// mirrorLines makes lines of sources.list from "URI SUITE COMPONENT" lines.
func mirrorLines(targets string) []string {
	var lines []string
	for line := range strings.Lines(targets) {
		f := strings.Fields(line)
		if len(f) == 3 && f[2] == "main" && (f[1] == baseSuite || strings.HasPrefix(f[1], baseSuite+"-")) {
			lines = append(lines, "deb "+strings.Join(f, " "))
		}
	}
	return lines
}

// dropped reports whether a file of the root file system is left out of the image:
// what differs between two runs, or is only of use to apt.
func dropped(name string) bool {
	name = path.Clean("/" + name)
	switch name {
	case "/etc/hostname", "/etc/resolv.conf", "/var/cache/ldconfig/aux-cache",
		"/var/lib/dbus/machine-id", "/var/cache/debconf/config.dat-old", "/var/cache/debconf/templates.dat-old",
		"/var/lib/dpkg/status-old", "/var/lib/dpkg/available-old":
		return true
	}
	for _, folder := range []string{"/var/log/", "/var/lib/apt/lists/", "/var/cache/apt/", "/dev/", "/proc/", "/sys/", "/tmp/", "/run/"} {
		if strings.HasPrefix(name, folder) {
			return true
		}
	}
	return false
}
