//go:build kernel

package facts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// world is a Linux with a remote processor: remoteproc0, a Cortex-M core that may be
// loaded to 0x60000000..0x600fffff.
type world struct {
	root string // where its / is
	elfs string // folder with hello_world.elf, crash.elf and echo.elf
	// linux is the version of the kernel, or the one that is simulated.
	linux [2]int

	made []string // files and folders of this fact
}

const (
	class     = "sys/class/remoteproc/remoteproc0/"
	debug     = "sys/kernel/debug/remoteproc/remoteproc0/"
	parameter = "sys/module/firmware_class/parameters/path"
	library   = "lib/firmware/"
)

// atLeast says whether the kernel is this one or a newer one.
func (w *world) atLeast(major, minor int) bool {
	return w.linux[0] > major || w.linux[0] == major && w.linux[1] >= minor
}

// path is where a name of the list is in this world. A name without a folder is an
// attribute of the processor.
func (w *world) path(name string) string {
	if !strings.Contains(name, "/") {
		name = class + name
	}
	return filepath.Join(w.root, name)
}

// write makes one write(2), to a file that exists.
func (w *world) write(name, value string) error {
	f, err := os.OpenFile(w.path(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

func (w *world) read(name string) (string, error) {
	b, err := os.ReadFile(w.path(name))
	return string(b), err
}

// step is one thing done or seen. It ends the fact's test when it is not so.
type step func(t *testing.T, w *world)

// write wants a write to succeed.
func write(name, value string) step { return refuse(name, value, 0) }

// refuse wants a write to fail with errno.
func refuse(name, value string, want syscall.Errno) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if err := w.write(name, value); errno(err) != want {
			t.Fatalf("write %q to %s: %v, want %v", value, name, err, describe(want))
		}
	}
}

// reads wants a file's content.
func reads(name, want string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if got, err := w.read(name); err != nil || got != want {
			t.Fatalf("%s reads %q, %v; want %q", name, got, err, want)
		}
	}
}

// unreadable wants reading to fail with errno.
func unreadable(name string, want syscall.Errno) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if got, err := w.read(name); errno(err) != want || err == nil {
			t.Fatalf("%s reads %q, %v; want %v", name, got, err, describe(want))
		}
	}
}

// becomes wants a file's content within some seconds: for what the kernel does in
// the background.
func becomes(name, want string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		var got string
		var err error
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
			if got, err = w.read(name); err == nil && got == want {
				return
			}
		}
		t.Fatalf("%s reads %q, %v; want %q", name, got, err, want)
	}
}

// stays wants a file's content now and for a while.
func stays(name, want string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		for range 20 {
			reads(name, want)(t, w)
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// absent wants a file not to exist.
func absent(name string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if _, err := os.Lstat(w.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s is there (%v)", name, err)
		}
	}
}

// stat wants a file's mode, and its size unless that is -1.
func stat(name string, mode fs.FileMode, size int64) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		info, err := os.Lstat(w.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode || size >= 0 && info.Size() != size {
			t.Fatalf("%s has mode %v and %d bytes, want %v and %d", name, info.Mode(), info.Size(), mode, size)
		}
	}
}

// put makes a firmware file. It is there until the fact is over and the processor is
// reset, which may need it for a recovery.
func put(name string, data []byte) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		path := w.path(name)
		top := path // what is to be removed: the uppermost folder that is new
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if _, err := os.Lstat(dir); err == nil {
				break
			}
			top = dir
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		w.made = append(w.made, top)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// remove removes a firmware file.
func remove(name string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if err := os.Remove(w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// boot puts a file, and starts it.
func boot(data []byte) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		steps(t, w, put(library+"facts.elf", data), write("firmware", "facts.elf"), write("state", "start"), reads("state", "running\n"))
	}
}

// fails puts a file that start refuses with errno, and that leaves nothing behind.
func fails(data []byte, want syscall.Errno) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		steps(t, w, put(library+"facts.elf", data), write("firmware", "facts.elf"), refuse("state", "start", want),
			reads("state", "offline\n"), absent(debug+"trace0"), reads("firmware", "facts.elf\n"))
	}
}

// crash lets the core crash with recovery switched off, and waits for it.
func crash(t *testing.T, w *world) {
	t.Helper()
	steps(t, w, write("recovery", "disabled"), write(debug+"crash", "1"), becomes("state", "crashed\n"))
}

func steps(t *testing.T, w *world, steps ...step) {
	t.Helper()
	for _, s := range steps {
		s(t, w)
	}
}

// errno is the errno in err: 0 for nil, and for an error without one something that
// is none.
func errno(err error) syscall.Errno {
	var e syscall.Errno
	if err == nil || errors.As(err, &e) {
		return e
	}
	return 9999
}

func describe(e syscall.Errno) string {
	if e == 0 {
		return "success"
	}
	return fmt.Sprintf("%q", e.Error())
}

// tidy ends a fact: it resets the processor and removes the files.
func (w *world) tidy() error {
	errs := []error{w.reset()}
	for _, name := range w.made {
		errs = append(errs, os.RemoveAll(name))
	}
	return errors.Join(errs...)
}

// reset brings the processor back to how it was found: offline or detached, with
// recovery.
func (w *world) reset() error {
	// an inline dump keeps the processor's lock
	dumps, _ := filepath.Glob(w.path(dumpClass + "devcd*/data"))
	for _, name := range dumps {
		if err := os.WriteFile(name, []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for range 10 {
		state, err := w.read("state")
		if err != nil {
			return err
		}
		switch state {
		case "offline\n":
			return errors.Join(w.write("recovery", "enabled"), w.write("coredump", "disabled"),
				w.write("firmware", "rproc-m4-fw"), w.write(parameter, "\x00"))
		case "detached\n":
			return errors.Join(w.write("recovery", "enabled"), w.write("coredump", "disabled"))
		case "attached\n":
			err = w.write("state", "detach")
		case "crashed\n":
			err = w.write("recovery", "recover")
		default:
			err = w.write("state", "stop")
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the processor does not stop")
}
