// Package engine takes images from the engines that are on the machine, by their own
// commands: they know where the images are, who may read them and how to ask. What
// they write goes into a file without a name, so that nothing stays behind.
package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/image"
)

const (
	maxArchive = 1 << 30   // bytes of an image
	maxList    = 256 << 10 // bytes of a list of images
	// pipeDelay is how long what a command started may keep its output open.
	pipeDelay = 2 * time.Second
	// A command that says nothing for so long has an engine that hangs: one that lists,
	// and one that saves, which may pack all before it writes.
	listSilence = 10 * time.Second
	saveSilence = 2 * time.Minute
)

// An engine is a command, and how it writes images and lists them.
type engine struct {
	name, program string
	save          func(ctx context.Context, name string, dst *file) error
	list          []string
}

// engines in the order in which they are asked for an image without an engine. It is
// that of hybrid build --load.
func engines() []engine {
	const names = "{{.Repository}}:{{.Tag}}"
	return []engine{
		{image.Docker, "docker", func(ctx context.Context, name string, dst *file) error {
			return run(ctx, dst, saveSilence, "docker", "save", name)
		}, []string{"docker", "images", "--format", names}},
		{image.Containerd, "ctr", exportContainerd, nil}, // lists them anyway
		{image.Podman, "podman", func(ctx context.Context, name string, dst *file) error {
			return run(ctx, dst, saveSilence, "podman", "save", "--quiet", "--format", "oci-archive", name)
		}, []string{"podman", "images", "--format", names}},
	}
}

// NotInstalledError reports an engine whose command is not there.
type NotInstalledError struct{ Program string }

func (e *NotInstalledError) Error() string { return e.Program + " is not in PATH" }

// Save writes an image of an engine, or of the first that has it if engine is empty,
// into a file: an archive of docker save or of an OCI layout.
func Save(ctx context.Context, engine, name string) (*os.File, error) {
	if strings.HasPrefix(name, "-") {
		return nil, fmt.Errorf("%q is not the name of an image: it starts with -", name)
	}
	dst, err := newFile()
	if err != nil {
		return nil, err
	}
	if err := saveFrom(ctx, engine, name, dst); err != nil {
		dst.Close()
		return nil, err
	}
	return dst.File, nil
}

func saveFrom(ctx context.Context, engine, name string, dst *file) error {
	var reasons, missing []string
	for _, e := range engines() {
		if engine != "" && engine != e.name {
			continue
		}
		err := e.saveTo(ctx, name, dst)
		if err == nil || ctx.Err() != nil || engine != "" {
			return err
		}
		var absent *NotInstalledError
		if errors.As(err, &absent) {
			missing = append(missing, e.program)
			continue
		}
		reasons = append(reasons, err.Error())
	}
	if len(reasons) == 0 {
		return fmt.Errorf("no such file or folder, and no engine to ask: none of %s is in PATH", strings.Join(missing, ", "))
	}
	return fmt.Errorf("no such file or folder, and no engine has it: %s", strings.Join(reasons, "; "))
}

// saveTo adds to an error what images there are.
func (e engine) saveTo(ctx context.Context, name string, dst *file) error {
	if err := dst.reset(); err != nil {
		return err
	}
	err := e.save(ctx, name, dst)
	var said *saidError
	if !errors.As(err, &said) || e.list == nil {
		return err
	}
	names, listErr := list(ctx, e.list...)
	if listErr != nil {
		return err
	}
	return fmt.Errorf("%w (%s)", err, has(e.name, names))
}

// has says what images an engine has.
func has(engine string, names []string) string {
	if len(names) == 0 {
		return engine + " has no images"
	}
	return engine + " has " + image.Few(names)
}

// saidError is why a command says that it failed.
type saidError struct {
	command []string
	reason  string
}

func (e *saidError) Error() string { return strings.Join(e.command, " ") + ": " + e.reason }

// run writes what a command prints, and ends it after a silence. The words of args are
// its arguments as they are: there is no shell.
func run(ctx context.Context, dst io.Writer, silence time.Duration, args ...string) error {
	program, err := exec.LookPath(args[0])
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return &NotInstalledError{args[0]}
		}
		return err
	}
	patient, stop := context.WithCancel(ctx)
	defer stop()
	timer := time.AfterFunc(silence, stop)
	defer timer.Stop()
	var stderr tail
	cmd := exec.CommandContext(patient, program, args[1:]...)
	out := noted{w: dst, written: func() { timer.Reset(silence) }}
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.WaitDelay = pipeDelay
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case patient.Err() != nil:
		return fmt.Errorf("%s: no answer for %v", strings.Join(args, " "), silence)
	case out.err != nil: // which is why it failed
		return fmt.Errorf("%s: %w", strings.Join(args, " "), out.err)
	case errors.As(err, &exit):
		if line := stderr.lastLine(); line != "" {
			return &saidError{args, line}
		}
	}
	return &saidError{args, err.Error()}
}

// noted keeps the error of writing.
type noted struct {
	w       io.Writer
	written func()
	err     error
}

func (n *noted) Write(b []byte) (int, error) {
	n.written()
	written, err := n.w.Write(b)
	if err != nil {
		n.err = err
	}
	return written, err
}

// list is what a command prints, by lines.
func list(ctx context.Context, args ...string) ([]string, error) {
	out := limited{left: maxList}
	if err := run(ctx, &out, listSilence, args...); err != nil {
		return nil, err
	}
	names := strings.Fields(out.b.String())
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return strings.Contains(n, "<none>") }), nil
}

// limited is a buffer that does not grow without end.
type limited struct {
	b    bytes.Buffer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, &image.LimitError{What: fmt.Sprintf("more than %d bytes", maxList)}
	}
	return l.b.Write(b)
}

// tail keeps the end of what a command complains.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	const enough = 4096
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-enough):]
	return len(b), nil
}

// lastLine is what a command said last, which is why it failed. It goes to terminals
// and logs: control characters do not.
func (t *tail) lastLine() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, lines[len(lines)-1])
}

// file has no name, and an end.
type file struct {
	*os.File
	left int64
}

// newFile makes a file in the folder for temporary ones, or in memory where that
// cannot have files without a name.
func newFile() (*file, error) {
	fd, err := unix.Open(os.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		if fd, err = unix.MemfdCreate("image", unix.MFD_CLOEXEC); err != nil {
			return nil, os.NewSyscallError("memfd_create", err)
		}
	}
	return &file{File: os.NewFile(uintptr(fd), "image")}, nil
}

func (f *file) reset() error {
	f.left = maxArchive
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

func (f *file) Write(b []byte) (int, error) {
	if f.left -= int64(len(b)); f.left < 0 {
		return 0, &image.LimitError{What: fmt.Sprintf("more than %d bytes, which no image of firmware has", int64(maxArchive))}
	}
	return f.File.Write(b)
}
