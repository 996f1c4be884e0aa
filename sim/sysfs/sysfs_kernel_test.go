//go:build kernel

package sysfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs"
	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

const (
	class = "sys/class/remoteproc/remoteproc0/"
	debug = "sys/kernel/debug/remoteproc/remoteproc0/"
)

func config() sysfs.Config {
	return sysfs.Config{
		Compatible: []string{"fsl,imx8mm-evk", "fsl,imx8mm"},
		Model:      "FSL i.MX8MM EVK board",
		Processors: []sysfs.Processor{
			{
				Name: "imx-rproc", NodeName: "imx8mm-cm4", Compatible: []string{"fsl,imx8mm-cm4"},
				Memory: []board.Region{{Name: "m_core", Start: 0x60000000, Size: 1 << 20}},
			},
			{Name: "boot", NodeName: "boot", Attached: true, Memory: []board.Region{{Start: 0x1000, Size: 0x1000}}, AttachedTrace: 256},
		},
		Greeting: "booted " + sysfs.FirmwareName,
	}
}

// firmware has its trace buffer in a segment, as linkers do it.
func firmware() []byte {
	return elftest.File{
		Segments: []elftest.Segment{{Addr: 0x60000000, Data: []byte("code"), MemSize: 0x2000}},
		Table:    elftest.Table(elftest.Trace(0x60001000, 64, "trace")),
	}.Bytes()
}

// mount serves a board until the test ends; by then nothing of it may be left.
func mount(t *testing.T, c sysfs.Config) (string, *sysfs.Server) {
	t.Helper()
	dir := t.TempDir()
	s, err := sysfs.Mount(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
		if b, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(b), dir) {
			t.Error("still mounted")
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "lib/firmware/a.elf"), firmware(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, s
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, dir, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// TestLife drives a processor from start to crash and back.
func TestLife(t *testing.T) {
	dir, server := mount(t, config())
	state := func() string { return read(t, dir, class+"state") }
	write(t, dir, class+"recovery", "disabled")
	write(t, dir, class+"firmware", "a.elf")
	write(t, dir, class+"state", "start")
	if state() != "running\n" {
		t.Fatalf("state %q after start", state())
	}
	if err := os.WriteFile(filepath.Join(dir, class+"firmware"), []byte("b.elf"), 0); !errors.Is(err, unix.EBUSY) {
		t.Errorf("firmware while running: %v", err)
	}
	write(t, dir, "sim/remoteproc0/control", "trace hello\n")
	if got := read(t, dir, debug+"trace0"); got != "booted a.elf\nhello\n" {
		t.Errorf("trace %q", got)
	}
	write(t, dir, debug+"crash", "1")
	await(t, func() bool { return state() == "crashed\n" })
	write(t, dir, class+"recovery", "recover")
	await(t, func() bool { return state() == "running\n" })
	write(t, dir, class+"state", "stop")
	if state() != "offline\n" {
		t.Errorf("state %q after stop", state())
	}
	if _, err := os.Stat(filepath.Join(dir, debug+"trace0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("trace after stop: %v", err)
	}
	if got := read(t, dir, "sys/firmware/devicetree/base/compatible"); got != "fsl,imx8mm-evk\x00fsl,imx8mm\x00" {
		t.Errorf("compatible %q", got)
	}
	if got := read(t, dir, "sys/firmware/devicetree/base/model"); got != "FSL i.MX8MM EVK board\x00" {
		t.Errorf("model %q", got)
	}
	if err := server.Core(0).Trace("x"); !errors.Is(err, sysfs.ErrNoFirmware) {
		t.Errorf("trace of nothing: %v", err)
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatal("waited for 5 s in vain")
}

func TestFiles(t *testing.T) {
	dir, _ := mount(t, config())
	for name, want := range map[string]struct {
		mode fs.FileMode
		size int64
	}{
		class + "name":     {0o444, 4096},
		class + "state":    {0o644, 4096},
		class + "firmware": {0o644, 4096},
		debug + "crash":    {0o200, 0},
		debug + "recovery": {0o600, 0},
		debug + "name":     {0o400, 0},
		"sys/kernel/debug": {fs.ModeDir | 0o700, 0},
		"sys/module/firmware_class/parameters/path": {0o644, 4096},
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want.mode || info.Size() != want.size && !info.IsDir() {
			t.Errorf("%s: mode %v, %d bytes", name, info.Mode(), info.Size())
		}
	}
	for name, want := range map[string]error{
		class + "name":    unix.EACCES, // even for root
		class + "missing": unix.EACCES, // what O_CREAT makes of it
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); !errors.Is(err, want) {
			t.Errorf("write %s: %v, want %v", name, err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, class+"name")); !errors.Is(err, unix.EPERM) {
		t.Errorf("remove an attribute: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, class+"x"), 0o755); !errors.Is(err, unix.EPERM) {
		t.Errorf("make a folder: %v", err)
	}
}

// TestFlock has two descriptors contend for an attribute and for a folder.
func TestFlock(t *testing.T) {
	dir, _ := mount(t, config())
	for _, name := range []string{class + "state", class} {
		a, b := open(t, filepath.Join(dir, name)), open(t, filepath.Join(dir, name))
		if err := unix.Flock(int(a.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			t.Errorf("second lock of %s: %v", name, err)
		}
		a.Close()
		if err := unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Errorf("lock of %s after the first was closed: %v", name, err)
		}
	}
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestOpenFile sees the present through a file that was opened before.
func TestOpenFile(t *testing.T) {
	dir, _ := mount(t, config())
	write(t, dir, class+"firmware", "a.elf")
	state, b := open(t, filepath.Join(dir, class+"state")), make([]byte, 64)
	for _, step := range []struct{ write, want string }{{"start", "running\n"}, {"stop", "offline\n"}, {"start\n", "running\n"}} {
		write(t, dir, class+"state", step.write)
		n, err := state.ReadAt(b, 0)
		if string(b[:n]) != step.want || err != io.EOF {
			t.Errorf("after %q: %q, %v", step.write, b[:n], err)
		}
	}
}

// TestConcurrency has readers and writers at everything at once, for the race
// detector, and for deadlocks.
func TestConcurrency(t *testing.T) {
	dir, server := mount(t, config())
	write(t, dir, class+"firmware", "a.elf")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	loop := func(f func()) {
		wg.Go(func() {
			for ctx.Err() == nil {
				f()
			}
		})
	}
	for range 2 {
		for _, name := range []string{class + "state", class + "firmware", debug + "trace0", debug + "resource_table"} {
			loop(func() { _, _ = os.ReadFile(filepath.Join(dir, name)) })
		}
		for _, w := range []struct{ name, value string }{
			{class + "state", "start"},
			{class + "state", "stop"},
			{debug + "crash", "1"},
			{class + "recovery", "recover"},
			{"sim/remoteproc0/control", "trace x"},
			{class + "firmware", "a.elf"},
		} {
			loop(func() { _ = os.WriteFile(filepath.Join(dir, w.name), []byte(w.value), 0) })
		}
		loop(func() { _, _ = os.ReadDir(filepath.Join(dir, debug)) })
	}
	loop(func() { server.Core(0).Crash(sysfs.FatalError) })
	wg.Wait()
}

// TestUnmount ends while files are open and a start is under way.
func TestUnmount(t *testing.T) {
	dir := t.TempDir()
	before := runtime.NumGoroutine()
	s, err := sysfs.Mount(dir, config())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lib/firmware/a.elf"), firmware(), 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, dir, class+"firmware", "a.elf")
	write(t, dir, "sim/remoteproc0/control", "boot-delay 1h")
	held, err := os.Open(filepath.Join(dir, class+"state"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	started := make(chan error)
	go func() { started <- os.WriteFile(filepath.Join(dir, class+"state"), []byte("start"), 0) }()
	time.Sleep(20 * time.Millisecond)
	begin := time.Now()
	if err := s.Unmount(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("unmounting took %v", d)
	}
	if err := <-started; err == nil {
		t.Error("a start that was cut short succeeded")
	}
	if _, err := held.Read(make([]byte, 1)); err == nil {
		t.Error("a file of the simulation can still be read")
	}
	await(t, func() bool { return runtime.NumGoroutine() <= before })
}

// TestTwice serves a folder that is being served.
func TestTwice(t *testing.T) {
	dir, _ := mount(t, config())
	if s, err := sysfs.Mount(dir, config()); !errors.Is(err, sysfs.ErrMounted) {
		t.Errorf("second mount: %v, %v", s, err)
	}
}

// TestInheritance starts a process that must not hold the connection to the kernel.
func TestInheritance(t *testing.T) {
	mount(t, config())
	out, err := exec.CommandContext(t.Context(), "ls", "-l", "/proc/self/fd").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "fuse") {
		t.Errorf("a process that we started has\n%s", out)
	}
}

// TestKmsg finds in the kernel's log what happened to a processor, and of which.
func TestKmsg(t *testing.T) {
	dir, server := mount(t, config())
	fd, err := unix.Open(filepath.Join(dir, "dev/kmsg"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	write(t, dir, class+"firmware", "a.elf")
	write(t, dir, class+"state", "start")
	server.Core(0).Crash(sysfs.FatalError)
	var got strings.Builder
	await(t, func() bool {
		b := make([]byte, 8192)
		if n, err := unix.Read(fd, b); err == nil {
			_, text, _ := strings.Cut(string(b[:n]), ";")
			got.WriteString(string(b[:2]) + text)
		}
		return strings.Count(got.String(), "now up") == 2
	})
	want := ""
	for _, line := range []string{
		"6,powering up imx-rproc", fmt.Sprintf("6,Booting fw image a.elf, size %d", len(firmware())), "6,remote processor imx-rproc is now up",
		"3,crash detected in imx-rproc: type fatal error", "3,handling crash #1 in imx-rproc", "3,recovering imx-rproc",
		"6,stopped remote processor imx-rproc", "6,remote processor imx-rproc is now up",
	} {
		want += line[:2] + "remoteproc remoteproc0: " + line[2:] + "\n SUBSYSTEM=remoteproc\n DEVICE=+remoteproc:remoteproc0\n"
	}
	if got.String() != want {
		t.Errorf("the log says\n%swant\n%s", got.String(), want)
	}
}

// TestNoKmsg serves a board whose log may not be read, in a folder that had one.
func TestNoKmsg(t *testing.T) {
	c := config()
	c.NoKmsg = true
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dev/kmsg"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := sysfs.Mount(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "dev/kmsg")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("kmsg: %v", err)
	}
	if err := s.Unmount(); err != nil {
		t.Error(err)
	}
}

// TestTTY has two cores with a tty each, which say what they are told to.
func TestTTY(t *testing.T) {
	c := config()
	c.Processors[1] = c.Processors[0]
	c.Processors[1].NodeName = "other"
	dir, server := mount(t, c)
	elf := elftest.File{
		Segments: []elftest.Segment{{Addr: 0x60000000, Data: []byte("code")}},
		Table:    elftest.Table(elftest.Vdev(7, 2, 16)),
	}
	if err := os.WriteFile(filepath.Join(dir, "lib/firmware/rpmsg.elf"), elf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.Core(0).TTY("x"); !errors.Is(err, sysfs.ErrNoTTY) {
		t.Errorf("tty of an offline core: %v", err)
	}
	for i := range 2 {
		processor := fmt.Sprintf("sys/class/remoteproc/remoteproc%d/", i)
		write(t, dir, processor+"firmware", "rpmsg.elf")
		write(t, dir, processor+"state", "start")
		name, control := fmt.Sprintf("ttyRPMSG%d", i), fmt.Sprintf("sim/remoteproc%d/", i)
		f, err := os.OpenFile(filepath.Join(dir, "dev", name), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		says := func(want string) {
			t.Helper()
			_ = f.SetReadDeadline(time.Now().Add(5 * time.Second))
			b := make([]byte, 64)
			if n, err := f.Read(b); string(b[:n]) != want || err != nil {
				t.Errorf("%s says %q, %v; want %q", name, b[:n], err, want)
			}
		}
		write(t, dir, control+"control", "tty hello\n")
		says("hello\n")
		if _, err := f.WriteString("echo\n"); err != nil {
			t.Fatal(err)
		}
		says("echo\n")
		write(t, dir, control+"control", "tty-echo off")
		if _, err := f.WriteString("quiet\n"); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return read(t, dir, control+"tty") == "echo\nquiet\n" })
		write(t, dir, control+"control", "tty done\n")
		says("done\n")
		link, err := filepath.EvalSymlinks(filepath.Join(dir, "sys/class/tty", name))
		if want, _ := filepath.EvalSymlinks(filepath.Join(dir, processor)); err != nil || !strings.HasPrefix(link, want+"/") {
			t.Errorf("%s is at %s, %v", name, link, err)
		}
	}
	// the lowest number that is free
	write(t, dir, "sys/class/remoteproc/remoteproc0/state", "stop")
	if _, err := os.Lstat(filepath.Join(dir, "dev/ttyRPMSG0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after stop: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "dev/ttyRPMSG1")); err != nil {
		t.Error(err)
	}
	// who reads nothing does not keep the core from going on
	write(t, dir, "sim/remoteproc1/control", "tty "+strings.Repeat("x", 4000))
	for range 5 {
		write(t, dir, "sim/remoteproc1/control", "tty "+strings.Repeat("x", 4000))
	}
	write(t, dir, "sys/class/remoteproc/remoteproc1/state", "stop")
}

// TestRunRefused has a core whose memory the simulated one does not have.
func TestRunRefused(t *testing.T) {
	c := config()
	c.Run = true
	if _, err := sysfs.Mount(t.TempDir(), c); err == nil || !strings.Contains(err.Error(), "processor 1 (boot): its firmware cannot be run: memory") {
		t.Errorf("%v", err)
	}
}

// TestRunUnmount ends while cores run, and leaves no process of theirs.
func TestRunUnmount(t *testing.T) {
	c := config()
	c.Run, c.Processors = true, c.Processors[:1]
	for range 2 {
		dir := t.TempDir()
		s, err := sysfs.Mount(dir, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "lib/firmware/a.elf"), firmware(), 0o644); err != nil {
			t.Fatal(err)
		}
		write(t, dir, class+"firmware", "a.elf")
		write(t, dir, class+"state", "start")
		if err := s.Unmount(); err != nil {
			t.Error(err)
		}
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil || len(children) > 0 {
		t.Errorf("children %q, %v", children, err)
	}
}
