package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/sim/qemu"
	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// newGuest starts a guest as a process of the host: commands run here.
func newGuest(t *testing.T, shares ...Share) (*VM, error) {
	t.Helper()
	ours, theirs, err := qemu.SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=guest")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	v := &VM{session: newSession(ours)}
	v.ctx, v.cancel = context.WithCancelCause(t.Context())
	v.work.Go(v.session.serve)
	v.onStop(v.work.Wait)
	t.Cleanup(func() {
		v.stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the guest: %v", err)
		}
	})
	return v, v.session.open(v.ctx, shares)
}

func TestGuestProcess(t *testing.T) {
	v, err := newGuest(t)
	if err != nil {
		t.Fatal(err)
	}
	testCommands(t, v)
}

func TestGuestCannotMount(t *testing.T) {
	if _, err := newGuest(t, Share{Host: "/x", Guest: "/mnt"}); err == nil || err.Error() != "mounting /mnt: no such device" {
		t.Errorf("open: %v", err)
	}
}

func TestGuestHangsUp(t *testing.T) {
	v, err := newGuest(t)
	if err != nil {
		t.Fatal(err)
	}
	c := v.Command(t.Context(), "sleep", "100")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the board is on fire")
	v.session.hangUp(cause)
	if err := c.Wait(); !errors.Is(err, cause) {
		t.Errorf("a running command: %v", err)
	}
	if err := v.Command(t.Context(), "true").Run(); !errors.Is(err, cause) {
		t.Errorf("a new command: %v", err)
	}
}

// testCommands is what commands do, on a guest of either kind: with sh, cat and so on.
func testCommands(t *testing.T, v *VM) {
	t.Run("exit codes", func(t *testing.T) {
		for script, want := range map[string]ExitError{
			"exit 0":        {},
			"exit 3":        {Code: 3},
			"exit 255":      {Code: 255},
			"kill -TERM $$": {Code: -1, Signal: syscall.SIGTERM},
			"kill -9 $$":    {Code: -1, Signal: syscall.SIGKILL},
		} {
			err := v.Command(t.Context(), "sh", "-c", script).Run()
			var exit *ExitError
			if !errors.As(err, &exit) {
				exit = &ExitError{}
				if err != nil {
					t.Errorf("%s: %v", script, err)
				}
			}
			if *exit != want {
				t.Errorf("%s: %+v, want %+v", script, *exit, want)
			}
		}
	})
	t.Run("not started", func(t *testing.T) {
		for name, code := range map[string]int{
			"no-such-command": 127, "/no/such/file": 127, "": 127, "/etc/passwd": 126, "/etc": 126,
		} {
			var failure *StartError
			if err := v.Command(t.Context(), name).Run(); !errors.As(err, &failure) || failure.Code != code {
				t.Errorf("%q: %#v, want code %d", name, err, code)
			}
		}
	})
	t.Run("streams", func(t *testing.T) {
		var stdout, stderr bytes.Buffer
		c := v.Command(t.Context(), "sh", "-c", "cat; echo error >&2; echo $A-$B; pwd")
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader("input\n"), &stdout, &stderr
		c.Env, c.Dir = []string{"A=1", "B=2", "A=3"}, "/proc"
		if err := c.Run(); err != nil || stdout.String() != "input\n3-2\n/proc\n" || stderr.String() != "error\n" {
			t.Errorf("%v, %q, %q", err, stdout.String(), stderr.String())
		}
		if c.Usage().Wall <= 0 || c.Usage().MaxRSS <= 0 {
			t.Errorf("usage: %+v", c.Usage())
		}
	})
	t.Run("no input", func(t *testing.T) {
		if out, err := v.Command(t.Context(), "cat").Output(); err != nil || len(out) != 0 {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("environment", func(t *testing.T) {
		c := v.Command(t.Context(), "/usr/bin/env")
		c.Env = []string{"HOME=/tmp"}
		out, err := c.Output()
		if want := strings.Join([]string{BaseEnv[0], "HOME=/tmp", BaseEnv[2], ""}, "\n"); err != nil || string(out) != want {
			t.Errorf("%v, %q, want %q", err, out, want)
		}
	})
	t.Run("much data", func(t *testing.T) {
		data := make([]byte, 3<<20)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		c := v.Command(t.Context(), "cat")
		hash := sha256.New()
		c.Stdin, c.Stdout = bytes.NewReader(data), hash
		if err := c.Run(); err != nil || [32]byte(hash.Sum(nil)) != sha256.Sum256(data) {
			t.Errorf("other data came back, %v", err)
		}
	})
	t.Run("input that nobody reads", func(t *testing.T) {
		c := v.Command(t.Context(), "true")
		c.Stdin = bytes.NewReader(make([]byte, 1<<20))
		if err := c.Run(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a slow reader holds up nobody else", func(t *testing.T) {
		r, w := io.Pipe()
		slow := v.Command(t.Context(), "sh", "-c", "dd if=/dev/zero bs=1024 count=1024 2>/dev/null")
		slow.Stdout = w
		if err := slow.Start(); err != nil {
			t.Fatal(err)
		}
		if err := v.Command(t.Context(), "true").Run(); err != nil {
			t.Error(err)
		}
		read := make(chan int64)
		go func() {
			n, _ := io.Copy(io.Discard, r)
			read <- n
		}()
		if err := slow.Wait(); err != nil {
			t.Error(err)
		}
		w.Close()
		if n := <-read; n != 1<<20 {
			t.Errorf("%d bytes", n)
		}
	})
	t.Run("a writer that fails", func(t *testing.T) {
		r, w := io.Pipe()
		r.Close()
		c := v.Command(t.Context(), "sh", "-c", "dd if=/dev/zero bs=1024 count=1024 2>/dev/null")
		c.Stdout = w
		if err := c.Run(); !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				out, err := v.Command(t.Context(), "sh", "-c", fmt.Sprintf("sleep 0.1; echo %d", i)).Output()
				if err != nil || string(out) != fmt.Sprintln(i) {
					t.Errorf("%d: %q, %v", i, out, err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("signals", func(t *testing.T) {
		r, w := io.Pipe()
		c := v.Command(t.Context(), "sh", "-c", `trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done`)
		c.Stdout = w
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, len("ready\n"))); err != nil {
			t.Fatal(err)
		}
		if err := c.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		var exit *ExitError
		if err := c.Wait(); !errors.As(err, &exit) || exit.Code != 7 {
			t.Error(err)
		}
		if err := c.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("after the end: %v", err)
		}
	})
	t.Run("context", func(t *testing.T) {
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, cause)
		defer cancel()
		begin := time.Now()
		// the child keeps the pipe open, but is of the same process group
		err := v.Command(ctx, "sh", "-c", "sleep 4242 & sleep 4242").Run()
		if !errors.Is(err, cause) || time.Since(begin) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			out, _ := v.Command(t.Context(), "sh", "-c", "ps ax 2>/dev/null | grep 'sleep [4]242' || ps | grep 'sleep [4]242'").Output()
			if len(out) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("still runs: %s", out)
			}
		}
		if err := v.Command(ctx, "true").Run(); !errors.Is(err, cause) {
			t.Errorf("started after the end: %v", err)
		}
	})
	t.Run("a process left behind", func(t *testing.T) {
		begin := time.Now()
		out, err := v.Command(t.Context(), "sh", "-c", "echo before; (sleep 2; echo late) & echo after").Output()
		if err != nil || string(out) != "before\nafter\n" || time.Since(begin) > time.Second {
			t.Errorf("%q, %v after %v", out, err, time.Since(begin))
		}
		out, err = v.Command(t.Context(), "sh", "-c", "(while echo noise; do :; done) & pid=$!; (sleep 1; kill -9 $pid) & echo started").Output()
		if err != nil || !bytes.Contains(out, []byte("started")) {
			t.Errorf("with much noise: %d bytes, %v", len(out), err)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		c := v.Command(t.Context(), "sh", "-c", "test -t 0 && test -t 2 && stty size && read line && echo got $line")
		c.Terminal = &wire.Size{Rows: 33, Columns: 44}
		c.Stdin = strings.NewReader("hello\n")
		out, err := c.Output()
		if err != nil || !strings.Contains(string(out), "33 44\r\n") || !strings.Contains(string(out), "got hello\r\n") {
			t.Errorf("%q, %v", out, err)
		}
	})
}

func TestCommandTwice(t *testing.T) {
	v, err := newGuest(t)
	if err != nil {
		t.Fatal(err)
	}
	c := v.Command(t.Context(), "true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(); err == nil {
		t.Error("a command ran twice")
	}
}

// TestNothingLeaks runs commands and looks for what is left of them here.
func TestNothingLeaks(t *testing.T) {
	v, err := newGuest(t)
	if err != nil {
		t.Fatal(err)
	}
	count := func() (goroutines, files int) {
		open, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(open)
	}
	goroutines, files := count()
	for range 20 {
		if err := v.Command(t.Context(), "echo").Run(); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		g, f := count()
		if g <= goroutines && f <= files {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d files became %d and %d", goroutines, files, g, f)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
