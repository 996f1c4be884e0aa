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
	"regexp"
	"slices"
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
	// Snapshot is the date, YYYYMMDD or YYYYMMDDTHHMMSSZ, whose packages are taken from
	// Debian's snapshots. Empty: the packages of the lock, which are always the same.
	Snapshot string
	// Unpinned takes what the mirror has today.
	Unpinned bool
	// Mirror is where packages come from; empty: the machine's own mirrors.
	Mirror string
	// Progress takes lines for people; nil for none.
	Progress io.Writer

	lock     []byte   // for tests; nil: the one of this program
	archives []string // likewise
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

// snapshotDate is what names a snapshot.
var snapshotDate = regexp.MustCompile(`^[0-9]{8}(T[0-9]{6}Z)?$`)

// Check refuses what contradicts itself.
func (b *Base) Check() error {
	var said []string
	for flag, is := range map[string]bool{"--rootfs": b.RootFS != "", "--snapshot": b.Snapshot != "", "--unpinned": b.Unpinned} {
		if is {
			said = append(said, flag)
		}
	}
	slices.Sort(said)
	switch {
	case len(said) > 1:
		return fmt.Errorf("%s: each says which packages, take one", strings.Join(said, " and "))
	case b.Snapshot != "" && !snapshotDate.MatchString(b.Snapshot):
		return fmt.Errorf("--snapshot %q: want YYYYMMDD or YYYYMMDDTHHMMSSZ", b.Snapshot)
	case b.Mirror != "" && (b.RootFS != "" || b.Snapshot != ""):
		return fmt.Errorf("--mirror is of no use with %s", said[0])
	case b.Mirror != "" && !strings.HasPrefix(b.Mirror, "http://") && !strings.HasPrefix(b.Mirror, "https://"):
		return fmt.Errorf("--mirror %q: want http://HOST/debian", b.Mirror)
	}
	return nil
}

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
		return writeLayout(ctx, layout, baseName, os.Stdin, nil)
	}
	f, err := os.Open(b.RootFS)
	if err != nil {
		return "", err
	}
	defer f.Close()
	dgst, err := writeLayout(ctx, layout, baseName, f, nil)
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
	sources, done, err := b.sources(ctx, filepath.Dir(layout))
	if err != nil {
		return "", err
	}
	defer done()
	args := []string{
		"--variant=minbase", "--format=tar", "--include=" + strings.Join(basePackages, ","),
		// nobody needs a half-made image after a power failure
		"--dpkgopt=force-unsafe-io",
	}
	for _, path := range unread {
		args = append(args, "--dpkgopt=path-exclude=/"+path)
	}
	args = append(args, baseSuite, "-")
	args = append(args, sources...)

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
	// where the packages came from differs between machines, and is none of the image's
	dgst, err := writeLayout(ctx, layout, baseName, rootfs, map[string]string{"/etc/apt/sources.list": sourcesList})
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

// sources are the lines of sources.list that mmdebstrap gets; done removes what they
// need on disk, which is beside the folder.
func (b *Base) sources(ctx context.Context, folder string) (lines []string, done func(), err error) {
	nothing := func() {}
	switch {
	case b.Snapshot != "":
		return snapshotLines(b.Snapshot), nothing, nil
	case b.Unpinned && b.Mirror != "":
		return []string{"deb " + b.Mirror + " " + baseSuite + " main"}, nothing, nil
	case b.Unpinned:
		return mirrors(ctx), nothing, nil
	}
	lock, archives := b.lock, b.archives
	if lock == nil {
		if lock, err = lockFor(thisArch); err != nil {
			return nil, nil, err
		}
	}
	if archives == nil {
		archives = archivesOf(ctx, b.Mirror)
	}
	fmt.Fprintln(b.Progress, "fetching the packages of the lock")
	repository, err := os.MkdirTemp(folder, ".packages.")
	if err != nil {
		return nil, nil, err
	}
	done = func() { os.RemoveAll(repository) }
	// apt reads it as a user of its own
	err = os.Chmod(repository, 0o755)
	if err == nil {
		err = fetchLocked(ctx, lock, repository, archives)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return []string{"deb [trusted=yes] copy:" + repository + " ./"}, done, nil
}

// sourcesList is the image's own, for steps that install more.
const sourcesList = "deb http://deb.debian.org/debian " + baseSuite + " main\n" +
	"deb http://deb.debian.org/debian " + baseSuite + "-updates main\n" +
	"deb http://deb.debian.org/debian-security " + baseSuite + "-security main\n"

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
