//go:build kernel

package facts

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dumpClass = "sys/class/devcoredump/"
	dumpLink  = class + "devcoredump"
)

// dump is the name of the only core dump there is, which it waits for.
func dump(t *testing.T, w *world) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		names, err := filepath.Glob(w.path(dumpClass + "devcd*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 1 {
			return filepath.Base(names[0])
		}
	}
	t.Fatal("no core dump, or several")
	return ""
}

func noDump(t *testing.T, w *world) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		names, err := filepath.Glob(w.path(dumpClass + "devcd*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			absent(dumpLink)(t, w)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is %q", names)
		}
	}
}

// crashDump has the core crash, and wants a dump; with recovery.
func crashDump(t *testing.T, w *world) {
	t.Helper()
	write(debug+"crash", "1")(t, w)
	dump(t, w)
}

// free writes to the dump, after which it goes by itself.
func free(t *testing.T, w *world) {
	t.Helper()
	write(dumpClass+dump(t, w)+"/data", "1")(t, w)
	noDump(t, w)
}

// dumpDevice is what the device of a dump looks like.
func dumpDevice(t *testing.T, w *world) {
	t.Helper()
	name := dump(t, w)
	steps(t, w, stat(dumpClass+name, os.ModeSymlink|0o777, -1), stat(dumpClass+name+"/data", 0o600, 0),
		stat(dumpClass+name+"/uevent", 0o644, 4096), reads(dumpClass+name+"/uevent", ""),
		stat(dumpLink, os.ModeSymlink|0o777, -1), stat(dumpClass+"disabled", 0o644, 4096))
	same := func(a, b string) {
		t.Helper()
		a, errA := filepath.EvalSymlinks(w.path(a))
		b, errB := filepath.EvalSymlinks(w.path(b))
		if errA != nil || errB != nil || a != b {
			t.Fatalf("%s (%v) is not %s (%v)", a, errA, b, errB)
		}
	}
	same(dumpClass+name+"/failing_device", "sys/class/remoteproc/remoteproc0")
	same(dumpClass+name, "sys/devices/virtual/devcoredump/"+name)
	same(dumpLink, "sys/devices/virtual/devcoredump/"+name)
	same(dumpClass+name+"/subsystem", "sys/class/devcoredump")
}

// dumpContent wants a core file with the memories of the core, and then its traces.
func dumpContent(entry uint32, traces ...string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		content, err := w.read(dumpClass + dump(t, w) + "/data")
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if f.Class != elf.ELFCLASS32 || f.Type != elf.ET_CORE || f.Machine != elf.EM_NONE || f.Entry != uint64(entry) || len(f.Sections) != 0 {
			t.Errorf("%+v", f.FileHeader)
		}
		regions := [][2]uint64{{memory, memorySize}, {0x60100000, 0x4000}, {0x60104000, 0x4000}}
		size := 52 + 32*len(f.Progs)
		for i, p := range f.Progs {
			size += int(p.Filesz)
			if p.Type != elf.PT_LOAD || p.Flags != elf.PF_R|elf.PF_W|elf.PF_X || p.Vaddr != p.Paddr || p.Filesz != p.Memsz || p.Align != 0 {
				t.Errorf("segment %d: %+v", i, p.ProgHeader)
			}
			if i < len(regions) {
				if p.Paddr != regions[i][0] || p.Filesz != regions[i][1] {
					t.Errorf("segment %d: %#x, %#x bytes", i, p.Paddr, p.Filesz)
				}
				continue
			}
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err != nil || i-len(regions) >= len(traces) || string(b) != traces[i-len(regions)] {
				t.Errorf("segment %d at %#x: %q, %v", i, p.Paddr, b, err)
			}
		}
		if len(f.Progs) != len(regions)+len(traces) || size != len(content) {
			t.Errorf("%d segments, and %d bytes of %d", len(f.Progs), size, len(content))
		}
		if !bytes.Contains([]byte(content), idle) {
			t.Error("the firmware is not in its core dump")
		}
	}
}

// openDump reads a dump that is freed meanwhile.
func openDump(t *testing.T, w *world) {
	t.Helper()
	f := open(t, w, dumpClass+dump(t, w)+"/data")
	b := make([]byte, 4)
	if n, err := f.ReadAt(b, 0); err != nil || string(b[:n]) != elf.ELFMAG {
		t.Fatalf("%q, %v", b[:n], err)
	}
	free(t, w)
	if n, err := f.ReadAt(b, 0); errno(err) != syscall.ENODEV {
		t.Fatalf("a dump that is gone reads %q, %v", b[:n], err)
	}
}

// secondDump crashes while there is a dump.
func secondDump(t *testing.T, w *world) {
	t.Helper()
	first := dump(t, w)
	logs([]string{
		"3 crash detected in m4: type watchdog", "3 handling crash #N in m4", "3 recovering m4", "6 stopped remote processor m4", "6 remote processor m4 is now up",
	}, write(debug+"crash", "1"))(t, w)
	if second := dump(t, w); second != first {
		t.Fatalf("%s was replaced by %s", first, second)
	}
	free(t, w)
	crashDump(t, w)
	if next := dump(t, w); next == first {
		t.Fatalf("the next is %s, too", next)
	}
}

// interrupted writes while the processor's lock is held, by an inline core dump, and has
// a signal come meanwhile.
func interrupted(name, value string, want syscall.Errno) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		fd, err := unix.Open(w.path(name), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		thread, result := make(chan int), make(chan error)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			thread <- unix.Gettid()
			_, err := unix.Write(fd, []byte(value))
			result <- err
		}()
		id := <-thread
		select {
		case err := <-result:
			t.Fatalf("write %q to %s: %v, while the lock is held", value, name, err)
		case <-time.After(50 * time.Millisecond):
		}
		if err := unix.Tgkill(unix.Getpid(), id, unix.SIGURG); err != nil { // Go's own, which means nothing
			t.Fatal(err)
		}
		select {
		case err := <-result:
			if errno(err) != want {
				t.Fatalf("write %q to %s: %v after a signal, want %v", value, name, err, describe(want))
			}
		case <-time.After(5 * time.Second):
			t.Fatal("a signal does not end the write")
		}
	}
}
