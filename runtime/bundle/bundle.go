// Package bundle turns what a user or an engine hands over (an OCI bundle, an
// image, an ELF file) into one ELF file that may be trusted: copied where nobody
// can change it any more, within limits, and parsed.
package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/image"
)

// MaxFirmware is the largest file that is taken for firmware, in bytes. With
// debug information firmware reaches some ten megabytes.
const MaxFirmware = 256 << 20

// maxConfig is the largest config.json that is read, in bytes.
const maxConfig = 8 << 20

// Firmware is an ELF file to be put on a core.
type Firmware struct {
	// Name is what the firmware is called where it comes from, for messages.
	Name string
	// ELF is what the file says.
	ELF *firmware.File
	// Hex is the SHA-256 of the file.
	Hex string
	// Target is what it is made for; fields may be empty.
	Target image.Target
	// Annotations are those of the bundle or of the image.
	Annotations map[string]string
	// Env is the environment of the bundle's process or of the image.
	Env []string
	// Spec is the bundle's configuration; nil without a bundle.
	Spec *specs.Spec
	// Bundle is the absolute path of what it was taken from: the bundle, the
	// image or the file.
	Bundle string
	// Version is the bundle's ociVersion, empty without a bundle.
	Version string

	file *os.File
}

// Attached stands for the firmware that a boot loader started: nothing is known of it.
func Attached() *Firmware { return &Firmware{Name: "the running firmware", Bundle: "/"} }

// Quiet is what to change in the file so that a core does nothing when it is started
// with it: see firmware.File.Quiet. It is nothing where that would make it unloadable:
// an image may be entered in its own ELF header.
func (f *Firmware) Quiet(core board.Core) []firmware.Patch {
	patches := f.ELF.Quiet(f.file, core)
	if info, err := f.file.Stat(); err != nil || !f.ELF.Survives(f.file, info.Size(), patches) {
		return nil
	}
	return patches
}

// HasRPMsg reports whether the firmware asks for a virtio device, over which it may
// offer terminals.
func (f *Firmware) HasRPMsg() bool {
	if f.ELF == nil || f.ELF.Table == nil {
		return false
	}
	return slices.ContainsFunc(f.ELF.Table.Entries, func(r firmware.Resource) bool { return r.Type == firmware.VirtioDev })
}

// Content returns a reader of the ELF file from its beginning.
func (f *Firmware) Content() io.Reader { return io.NewSectionReader(f.file, 0, MaxFirmware) }

// Close releases the file.
func (f *Firmware) Close() error {
	if f.file == nil { // of a core that is attached to
		return nil
	}
	return f.file.Close()
}

// FromPath takes the ELF file name, or the only one in the folder name.
func FromPath(name string) (*Firmware, error) {
	file, err := elfIn(name)
	if err != nil {
		return nil, err
	}
	src, err := openRegular(file)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return load(src, file, name)
}

// elfIn is name, or the ELF file in the folder name.
func elfIn(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return name, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		file := filepath.Join(name, e.Name())
		f, err := openRegular(file)
		if err != nil {
			continue // a folder, a device, a dead link: no firmware
		}
		head := make([]byte, 4)
		n, _ := f.ReadAt(head, 0)
		f.Close()
		if firmware.IsELF(head[:n]) {
			found = append(found, e.Name())
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no ELF file in %s", name)
	case 1:
		return filepath.Join(name, found[0]), nil
	}
	return "", fmt.Errorf("%s holds %d ELF files, name one: %s", name, len(found), strings.Join(found, ", "))
}

// FromBundle takes the firmware of an OCI bundle: the file that process.args[0]
// names in the root file system (runtime-spec, config.md). Of the programs of a
// packed image that of the closest target is taken.
func FromBundle(dir string, here Host) (*Firmware, error) {
	spec, err := readConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	if isLinux(dir, spec) {
		return nil, fmt.Errorf("bundle %s: %w", dir, ErrLinux)
	}
	if err := checkVersion(spec.Version); err != nil {
		return nil, fmt.Errorf("bundle %s: %w", dir, err)
	}
	if spec.Process == nil || len(spec.Process.Args) == 0 || args(spec.Process)[0] == "" {
		return nil, fmt.Errorf("bundle %s: process.args of config.json is empty, so nothing says which file is the firmware", dir)
	}
	if spec.Root == nil || spec.Root.Path == "" {
		return nil, fmt.Errorf("bundle %s: config.json has no root.path", dir)
	}
	if !path.IsAbs(spec.Process.Cwd) {
		return nil, fmt.Errorf("bundle %s: process.cwd %.64q of config.json is not an absolute path", dir, spec.Process.Cwd)
	}
	if _, found := spec.Annotations[""]; found {
		return nil, fmt.Errorf("bundle %s: an annotation of config.json has no key", dir)
	}
	root := spec.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(dir, root)
	}
	program, err := programOf(spec, here)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", dir, err)
	}
	src, err := openIn(root, program.Path)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", dir, err)
	}
	defer src.Close()
	fw, err := load(src, program.Path, dir)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", dir, err)
	}
	fw.Annotations, fw.Env, fw.Spec, fw.Version = spec.Annotations, spec.Process.Env, spec, spec.Version
	fw.Target = program.Target
	return fw, nil
}

// programOf is what a bundle runs. Whether a single program fits is asked later,
// with the processor that is free.
func programOf(spec *specs.Spec, here Host) (image.Program, error) {
	name := args(spec.Process)[0]
	if len(name) > unix.PathMax {
		return image.Program{}, fmt.Errorf("process.args of config.json starts with a path of more than %d bytes", unix.PathMax)
	}
	if !path.IsAbs(name) {
		name = path.Join("/", spec.Process.Cwd, name)
	}
	own := image.TargetOf(spec.Annotations).Or(image.TargetOfEnv(spec.Process.Env))
	programs, err := image.ProgramsOfEnv(spec.Process.Env, own, name)
	if err != nil {
		return image.Program{}, err
	}
	if len(programs) == 1 {
		programs[0].Target = programs[0].Target.Or(own)
		return programs[0], nil
	}
	c := choice{here: here, mcu: own.MCU} // which of a board's cores, where several fit
	for _, p := range programs {
		p.Target = p.Target.Or(own)
		c.consider(nil, p)
	}
	_, program, err := c.made()
	return program, err
}

// checkVersion takes the versions of the specification that this one is compatible
// with: all of the same major version (config.md, Specification version). What came
// before 1.0.0 itself, as 1.0.0-rc5, is taken as well: bundles of old tools have it, and
// runc does not look.
func checkVersion(version string) error {
	major, _, _ := strings.Cut(version, ".")
	switch {
	case version == "":
		return errors.New("config.json has no ociVersion")
	case !isVersion(version):
		return fmt.Errorf("ociVersion %.64q of config.json is not a version, as %s", version, specs.Version)
	case major != strconv.Itoa(specs.VersionMajor):
		return fmt.Errorf("ociVersion %s of config.json is not supported: want %d.x", version, specs.VersionMajor)
	}
	return nil
}

// isVersion reports whether a version is MAJOR.MINOR.PATCH, perhaps with more after a
// hyphen or a plus sign: semver.org, version 2.0.0.
func isVersion(version string) bool {
	core, more := version, ""
	if i := strings.IndexAny(version, "-+"); i >= 0 {
		core, more = version[:i], version[i+1:]
		if more == "" {
			return false
		}
	}
	numbers := strings.Split(core, ".")
	for _, n := range numbers {
		if n == "" || strings.Trim(n, "0123456789") != "" {
			return false
		}
	}
	for _, c := range []byte(more) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '+', c == '.':
		default:
			return false
		}
	}
	return len(numbers) == 3
}

func readConfig(name string) (*specs.Spec, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxConfig {
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxConfig)
	}
	var spec specs.Spec
	if err := json.Unmarshal(b, &spec); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &spec, nil
}

// openIn opens the regular file name, an absolute path inside of root. Links are
// followed as if root were /, so that none leads out of an image.
func openIn(root, name string) (*os.File, error) {
	handle, err := pathrs.OpenInRoot(root, name)
	if err != nil {
		return nil, notThere(name, err)
	}
	defer handle.Close()
	info, err := handle.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // looked at before it is opened: opening a fifo waits
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return pathrs.Reopen(handle, os.O_RDONLY)
}

// notThere replaces the library's words by the name the user knows.
func notThere(name string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no %s in the root file system: %w", name, os.ErrNotExist)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// openRegular looks before it opens: opening a watchdog's device starts it.
func openRegular(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // nor waits for a fifo's writer
	if err != nil {
		return nil, err
	}
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() { // replaced meanwhile
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// load takes a snapshot of an open file and parses it.
func load(src *os.File, name, from string) (*Firmware, error) {
	tooLarge := fmt.Errorf("%s is larger than %d bytes, the limit for firmware", name, MaxFirmware)
	info, err := src.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxFirmware { // the copy would be in memory
		return nil, tooLarge
	}
	f, err := snapshot(func(dst *os.File) error {
		n, err := io.Copy(dst, io.LimitReader(src, MaxFirmware+1))
		if n > MaxFirmware {
			return tooLarge // it grew
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return parse(f, name, from)
}

// snapshot fills an anonymous file, so that what is checked is what is loaded, and
// nothing stays behind.
func snapshot(fill func(*os.File) error) (*os.File, error) {
	fd, err := unix.MemfdCreate("firmware", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "firmware")
	if err := fill(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func parse(f *os.File, name, from string) (_ *Firmware, err error) {
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	elf, err := firmware.Parse(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, info.Size())); err != nil {
		return nil, err
	}
	from, err = filepath.Abs(from)
	if err != nil {
		return nil, err
	}
	return &Firmware{Name: name, ELF: elf, Hex: hex.EncodeToString(sum.Sum(nil)), Bundle: from, file: f}, nil
}
