package vm

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/hybrid-containers/hybrid/sim/qemu"
	"github.com/hybrid-containers/hybrid/sim/vm/cpio"
	"github.com/hybrid-containers/hybrid/sim/vm/debian"
)

// portName is the name of the virtio port on which guest and host talk.
const portName = "hybrid"

// QEMU's virt machine has 32 places for virtio devices; the first has the port.
const (
	virtioBase      = 0x0a000000
	virtioSize      = 0x200
	virtioInterrupt = 16
	maxShares       = 31
)

func shareTag(i int) string { return fmt.Sprintf("share%d", i) }

// machine is Linux's side of the board: what its QEMU is started with.
type machine struct {
	args   []string
	memory *os.File // shared with the core
	initrd *os.File
	dtb    *os.File

	// our ends of the sockets, and theirs
	commands, qtest, console                *os.File
	theirCommands, theirQtest, theirConsole *os.File
}

// What the files of machine.start are called on the command line, in its order.
const (
	fileMemory = iota
	fileInitrd
	fileDTB
	fileCommands
	fileQtest
	fileConsole
)

func newMachine(ctx context.Context, shares []Share, files *debian.Files, init string, verbose bool) (_ *machine, err error) {
	m := &machine{args: arguments(shares, files.Kernel, verbose)}
	defer func() {
		if err != nil {
			m.closeOurs()
			m.closeTheirs()
		}
	}()
	blob, err := deviceTree(ctx, len(shares)+1)
	if err != nil {
		return nil, err
	}
	if m.dtb, err = memoryFile("device tree", blob); err != nil {
		return nil, err
	}
	archive, err := initramfs(files, init)
	if err != nil {
		return nil, err
	}
	if m.initrd, err = memoryFile("initramfs", archive); err != nil {
		return nil, err
	}
	for _, s := range []struct{ ours, theirs **os.File }{
		{&m.commands, &m.theirCommands}, {&m.qtest, &m.theirQtest}, {&m.console, &m.theirConsole},
	} {
		if *s.ours, *s.theirs, err = qemu.SocketPair(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *machine) start(ctx context.Context) (*qemu.Process, error) {
	return qemu.Start(ctx, m.args, m.memory, m.initrd, m.dtb, m.theirCommands, m.theirQtest, m.theirConsole)
}

// closeTheirs closes what QEMU has descriptors of its own for.
func (m *machine) closeTheirs() {
	closeAll(m.initrd, m.dtb, m.theirCommands, m.theirQtest, m.theirConsole)
}

func (m *machine) closeOurs() { closeAll(m.commands, m.qtest, m.console) }

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// arguments is QEMU's command line.
func arguments(shares []Share, kernel string, verbose bool) []string {
	loglevel := 4
	if verbose {
		loglevel = 7
	}
	args := []string{
		"-machine", "virt,highmem=off", "-cpu", "cortex-a15", "-smp", "1", "-m", "528M",
		// the second node is the memory shared with the core, behind the first: at 0x60000000
		"-object", "memory-backend-ram,id=ram,size=512M",
		"-object", "memory-backend-file,id=shared,size=16M,share=on,mem-path=" + qemu.Path(fileMemory),
		"-numa", "node,nodeid=0,cpus=0,memdev=ram", "-numa", "node,nodeid=1,memdev=shared",
		"-kernel", escape(kernel), "-initrd", qemu.Path(fileInitrd), "-dtb", qemu.Path(fileDTB),
		// init= as there is no other to fall back to; self-tests of cryptography take longer than all the rest of the boot, write
		// protection of the kernel's code makes QEMU translate it again with each module
		"-append", fmt.Sprintf("console=ttyAMA0 loglevel=%d panic=-1 init=/init cryptomgr.notests rodata=off", loglevel),
		"-no-reboot",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", qemu.FD(fileConsole)), "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=qtest,fd=%d", qemu.FD(fileQtest)), "-qtest", "chardev:qtest", "-qtest-log", "none",
		"-chardev", fmt.Sprintf("socket,id=commands,fd=%d", qemu.FD(fileCommands)),
		"-device", "virtio-serial-device,bus=virtio-mmio-bus.0", "-device", "virtserialport,chardev=commands,name=" + portName,
	}
	for i, s := range shares {
		readOnly := ""
		if s.ReadOnly {
			readOnly = ",readonly=on"
		}
		args = append(args,
			"-fsdev", fmt.Sprintf("local,id=%s,path=%s,security_model=none,multidevs=remap%s", shareTag(i), escape(s.Host), readOnly),
			"-device", fmt.Sprintf("virtio-9p-device,bus=virtio-mmio-bus.%d,fsdev=%s,mount_tag=%[2]s", i+1, shareTag(i)))
	}
	return args
}

// escape writes a value of a QEMU option, in which commas separate.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

//go:embed board.dts.tmpl
var boardSource string

var boardTemplate = template.Must(template.New("board.dts").Parse(boardSource))

// deviceTreeSource is the board's device tree with n virtio devices. The seed is
// entropy: without it Linux has none for long, and programs wait for it.
func deviceTreeSource(n int, seed []byte) ([]byte, error) {
	type device struct{ Address, Interrupt int }
	data := struct {
		Seed   string
		Virtio []device
	}{Seed: fmt.Sprintf("% x", seed)}
	for i := range n {
		data.Virtio = append(data.Virtio, device{virtioBase + i*virtioSize, virtioInterrupt + i})
	}
	var b bytes.Buffer
	err := boardTemplate.Execute(&b, data)
	return b.Bytes(), err
}

// deviceTree is the same as a blob.
func deviceTree(ctx context.Context, n int) ([]byte, error) {
	seed := make([]byte, 64)
	_, _ = rand.Read(seed) // never fails
	source, err := deviceTreeSource(n, seed)
	if err != nil {
		return nil, err
	}
	var blob, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "dtc", "-q", "-I", "dts", "-O", "dtb")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(source), &blob, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("device tree: dtc: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return blob.Bytes(), nil
}

// initramfs is the initial, and only, file system: init, busybox, modules. It is not
// compressed: that costs the guest more time than it saves.
func initramfs(files *debian.Files, init string) ([]byte, error) {
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	add := func(name, from string) error {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return w.File(name, 0o755, data)
	}
	if err := add("init", init); err != nil {
		return nil, err
	}
	busybox, err := os.ReadFile(files.Busybox)
	if err != nil {
		return nil, err
	}
	if err := w.File("bin/busybox", 0o755, busybox); err != nil {
		return nil, err
	}
	applets, err := debian.Applets(busybox)
	if err != nil {
		return nil, err
	}
	for _, name := range applets {
		if name == "busybox" { // a command of its own, too
			continue
		}
		if err := w.Symlink("bin/"+name, "busybox"); err != nil {
			return nil, err
		}
	}
	if err := w.Symlink("usr/bin/env", "/bin/busybox"); err != nil { // scripts start with it
		return nil, err
	}
	for _, m := range files.Modules {
		if err := add("lib/modules/"+filepath.Base(m), m); err != nil {
			return nil, err
		}
	}
	for _, folder := range []string{"dev", "etc", "lib/firmware", "proc", "root", "sys", "tmp", "run", "sbin", "usr/sbin", "var/lib"} {
		if err := w.Folder(folder); err != nil {
			return nil, err
		}
	}
	if err := w.File("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n")); err != nil {
		return nil, err
	}
	if err := w.File("etc/group", 0o644, []byte("root:x:0:\n")); err != nil {
		return nil, err
	}
	// what init prints before there is a /dev goes here
	if err := w.Char("dev/console", 0o600, 5, 1); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func memoryFile(name string, content []byte) (*os.File, error) {
	f, err := qemu.MemoryFile(name, int64(len(content)))
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("memory file %s: %w", name, err)
	}
	return f, nil
}
