// Package debian obtains the Linux of the virtual board: Debian's armhf kernel with
// the modules that the board needs, and busybox. Packages come through apt, which
// verifies signatures and hashes, from the mirror that the machine itself uses; the
// machine's own apt state is neither used nor changed.
package debian

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Suite is the release from which all but newer kernels come.
const Suite = "bookworm"

// Kernel is a kernel of Debian's on which the behaviour of remoteproc was observed.
type Kernel struct {
	Version string // as in 6.1
	suite   string
	layout  string // the form of its cached folder; a change to it or to Modules needs another
}

// Kernels are those that there are, the one that is used where none is given first.
func Kernels() []Kernel {
	return []Kernel{
		{"6.1", Suite, "linux-armhf-2"},
		{"6.12", Suite + "-backports", "linux-6.12-armhf-1"},
	}
}

// KernelVariable is the environment variable that says which kernel is used where none
// is given.
const KernelVariable = "HYBRID_SIM_KERNEL"

// LookupKernel finds a kernel by its version; empty is what KernelVariable says, or the
// first.
func LookupKernel(version string) (Kernel, error) {
	if version == "" {
		version = os.Getenv(KernelVariable)
	}
	var all []string
	for _, k := range Kernels() {
		if k.Version == version || version == "" {
			return k, nil
		}
		all = append(all, k.Version)
	}
	return Kernel{}, fmt.Errorf("no kernel %q for the virtual board: there are %s", version, strings.Join(all, " and "))
}

// Modules are the kernel modules that the board has, in no order; what they depend
// on comes with them.
var Modules = []string{
	"virtio_mmio", "virtio_console", "9p", "9pnet_virtio", // the connection to the host
	"stm32_rproc", "stm32-ipcc", // the core, its mailbox
	"virtio_rpmsg_bus", "rpmsg_ns", "rpmsg_ctrl", "rpmsg_char", "rpmsg_tty",
}

// Files are what a boot needs. They are read only, and may be in use by others.
type Files struct {
	Kernel  string // a U-Boot image, uncompressed
	Busybox string
	Modules []string // kernel modules, each behind those that it depends on
}

// Cache returns the folder that is used where none is given: $HYBRID_CACHE, or
// hybrid in the user's cache folder.
func Cache() (string, error) {
	if dir := os.Getenv("HYBRID_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder: %w (set HYBRID_CACHE)", err)
	}
	return filepath.Join(dir, "hybrid"), nil
}

// Get returns the files, from the cache folder or from Debian's mirror; downloading
// 45 or 60 MB then is told to progress, a line each step. Processes that do so at once
// wait for each other.
func Get(ctx context.Context, cache string, kernel Kernel, progress io.Writer) (*Files, error) {
	dir := filepath.Join(cache, kernel.layout)
	files, err := open(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return files, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if files, err := open(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return files, err // somebody else was faster
	}

	// what a process that was killed has left; none but us works here now
	old, _ := filepath.Glob(filepath.Join(cache, ".fetch-*"))
	for _, dir := range old {
		_ = os.RemoveAll(dir)
	}
	work, err := os.MkdirTemp(cache, ".fetch-")
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	defer os.RemoveAll(work)
	if err := fetch(ctx, work, kernel, progress); err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(work, "out"), dir); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return open(dir)
}

// open lists what fetch has made. Names of modules start with their place in the
// order of loading.
func open(dir string) (*Files, error) {
	modules, err := os.ReadDir(filepath.Join(dir, "modules"))
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	files := &Files{Kernel: filepath.Join(dir, "kernel"), Busybox: filepath.Join(dir, "busybox")}
	for _, m := range modules {
		files.Modules = append(files.Modules, filepath.Join(dir, "modules", m.Name()))
	}
	return files, nil
}

// lock waits for the lock on a file; the file stays. The lock ends with this
// process, however it ends.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return func() { f.Close() }, nil
		case unix.EWOULDBLOCK, unix.EINTR:
		default:
			f.Close()
			return nil, fmt.Errorf("cache: locking %s: %w", name, err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cache: %s is locked by another process: %w", name, context.Cause(ctx))
		}
	}
}

// fetch makes the folder "out" in work.
func fetch(ctx context.Context, work string, version Kernel, progress io.Writer) error {
	apt, err := newApt(ctx, filepath.Join(work, "apt"), sourceOf(os.DirFS("/etc/apt")), version.suite, progress)
	if err != nil {
		return err
	}
	kernel, err := apt.dependency(ctx, "linux-image-armmp", "linux-image-"+version.Version+".")
	if err != nil {
		return err
	}
	root := filepath.Join(work, "root")
	for _, pkg := range []string{kernel, "busybox-static"} {
		if err := apt.unpack(ctx, pkg, root); err != nil {
			return err
		}
	}

	out := filepath.Join(work, "out")
	if err := os.MkdirAll(filepath.Join(out, "modules"), 0o755); err != nil {
		return err
	}
	release := strings.TrimPrefix(kernel, "linux-image-")
	if err := uncompressKernel(ctx, filepath.Join(root, "boot/vmlinuz-"+release), filepath.Join(root, "boot/config-"+release), filepath.Join(out, "kernel")); err != nil {
		return fmt.Errorf("%s: %w", kernel, err)
	}
	if err := os.Rename(filepath.Join(root, "bin/busybox"), filepath.Join(out, "busybox")); err != nil {
		return err
	}
	modules, err := inOrder(ctx, filepath.Join(root, "lib/modules", release), Modules)
	if err != nil {
		return fmt.Errorf("%s: %w", kernel, err)
	}
	for i, m := range modules {
		b, err := readModule(ctx, m)
		if err != nil {
			return err
		}
		to := filepath.Join(out, "modules", fmt.Sprintf("%02d-%s", i, strings.TrimSuffix(filepath.Base(m), ".xz")))
		if err := os.WriteFile(to, unsigned(b), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// unsigned cuts the signature off a module: apt has verified it already, and the
// kernel takes a quarter of a second to do so again. Its end is struct
// module_signature (12 bytes, the last four are the length) and a marker.
func unsigned(module []byte) []byte {
	const marker, trailer = "~Module signature appended~\n", 12
	body, ok := bytes.CutSuffix(module, []byte(marker))
	if !ok || len(body) < trailer {
		return module
	}
	length := uint64(binary.BigEndian.Uint32(body[len(body)-4:]))
	body = body[:len(body)-trailer]
	if length > uint64(len(body)) {
		return module
	}
	return body[:uint64(len(body))-length]
}

// Applets are the commands that a busybox has, from its own table: names, each
// ended by a zero, in alphabetical order, ended by an empty one.
func Applets(busybox []byte) ([]string, error) {
	at := bytes.Index(busybox, []byte("\x00[\x00[[\x00"))
	if at < 0 {
		return nil, errors.New("busybox has no table of its commands")
	}
	var names []string
	for name := range bytes.SplitSeq(busybox[at+1:], []byte{0}) {
		if len(name) == 0 {
			break
		}
		names = append(names, string(name))
	}
	return names, nil
}

// inOrder finds modules by name below dir, and what they depend on, each behind its
// dependencies; what this kernel has built in is left out. Packages hold no modules.dep, which depmod makes when they are
// installed: the modules themselves say the same.
func inOrder(ctx context.Context, dir string, names []string) ([]string, error) {
	paths := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(strings.TrimSuffix(filepath.Base(path), ".xz"), ".ko"); ok {
			paths[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	builtIn, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for path := range strings.FieldsSeq(string(builtIn)) {
		paths[moduleName(strings.TrimSuffix(filepath.Base(path), ".ko"))] = ""
	}
	var order []string
	var add func(name string) error
	add = func(name string) error {
		path, ok := paths[moduleName(name)]
		if !ok {
			return fmt.Errorf("no kernel module %s", name)
		}
		if path == "" || slices.Contains(order, path) {
			return nil // a part of this kernel, or there already
		}
		needs, err := dependencies(ctx, path)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		order = append(order, path)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName is the one form of a name in which - and _ do not differ.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// readModule reads a module, which newer kernels have compressed.
func readModule(ctx context.Context, path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".xz") {
		return b, err
	}
	b, err = unxz(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("kernel module %s: %w", filepath.Base(path), err)
	}
	return b, nil
}

// dependencies reads the "depends" of a module's .modinfo section.
func dependencies(ctx context.Context, path string) ([]string, error) {
	module, err := readModule(ctx, path)
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("kernel module %s: %w", filepath.Base(path), err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("kernel module %s says nothing about itself", filepath.Base(path))
	}
	b, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("kernel module %s: %w", filepath.Base(path), err)
	}
	for entry := range strings.SplitSeq(string(b), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
