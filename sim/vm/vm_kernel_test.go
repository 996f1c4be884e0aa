//go:build kernel

package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func init() { children["parent"] = beParent }

// built is the guest's init and firmware, made once.
var built = sync.OnceValues(func() (dir string, err error) {
	dir, err = os.MkdirTemp("", "hybrid-vm-test-")
	if err != nil {
		return "", err
	}
	atEnd = append(atEnd, func() { os.RemoveAll(dir) })
	for _, c := range []struct {
		env  []string
		args []string
	}{
		{
			[]string{"GOOS=linux", "GOARCH=arm", "GOARM=7", "CGO_ENABLED=0"},
			[]string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "guest"), "../../cmd/hybrid-sim-guest"},
		},
		{nil, []string{"make", "-s", "-C", "../../examples/hello_world", "BOARD=qemu-virt", "O=" + dir}},
		{nil, []string{"make", "-s", "-C", "../../test/kernel/firmware", "O=" + dir}},
	} {
		cmd := exec.Command(c.args[0], c.args[1:]...)
		cmd.Env = append(os.Environ(), c.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", strings.Join(c.args, " "), err, out)
		}
	}
	return dir, nil
})

func config(t *testing.T) Config {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return Config{GuestInit: filepath.Join(dir, "guest"), Progress: os.Stderr, Shares: []Share{{Host: dir, Guest: "/fw", ReadOnly: true}}}
}

func start(t *testing.T, cfg Config) *VM {
	t.Helper()
	begin := time.Now()
	v, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := v.Command(t.Context(), "true").Run(); err != nil {
		t.Fatal(err)
	}
	t.Logf("boot to the end of the first command: %v", time.Since(begin).Round(time.Millisecond))
	return v
}

// sh runs a script that must succeed, and returns what it prints.
func sh(t *testing.T, v *VM, script string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := v.Command(t.Context(), "sh", "-ec", script)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, stderr.String())
	}
	return string(out)
}

func TestBoard(t *testing.T) {
	share := t.TempDir()
	cfg := config(t)
	cfg.Shares = append(cfg.Shares, Share{Host: share, Guest: "/mnt/rw"}, Share{Host: share, Guest: "/mnt/const", Constant: true})
	v := start(t, cfg)

	t.Run("commands", func(t *testing.T) { testCommands(t, v) })
	t.Run("round trip", func(t *testing.T) {
		const n = 50
		begin := time.Now()
		for range n {
			if err := v.Command(t.Context(), "true").Run(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%v each", (time.Since(begin) / n).Round(10*time.Microsecond))
	})
	t.Run("system", func(t *testing.T) {
		if got := sh(t, v, "cat /proc/1/comm; tr '\\0' ' ' < /sys/firmware/devicetree/base/compatible; cat /sys/class/remoteproc/remoteproc0/state"); got != "init\nhybrid,qemu-virt linux,dummy-virt offline\n" {
			t.Errorf("%q", got)
		}
		seconds, err := strconv.ParseInt(strings.TrimSpace(sh(t, v, "date +%s")), 10, 64)
		if off := time.Since(time.Unix(seconds, 0)).Abs(); err != nil || off > 2*time.Second {
			t.Errorf("the clock is wrong by %v, %v", off, err)
		}
	})
	t.Run("orphans", func(t *testing.T) {
		sh(t, v, "for i in 1 2 3; do (sleep 0.1 &) ; done")
		// a zombie keeps its name: they must end, and be waited for
		eventually(t, "orphans or zombies are left", func() bool {
			return sh(t, v, "cat /proc/[0-9]*/stat 2>/dev/null | grep -c -e '(sleep)' -e ') Z ' || true") == "0\n"
		})
	})
	t.Run("shares", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(share, "from-host"), []byte("one"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := sh(t, v, "cat /mnt/rw/from-host; printf two > /mnt/rw/from-guest"); got != "one" {
			t.Errorf("%q", got)
		}
		if err := os.WriteFile(filepath.Join(share, "from-host"), []byte("three"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := sh(t, v, "cat /mnt/rw/from-host"); got != "three" {
			t.Errorf("the guest sees old content: %q", got)
		}
		if b, err := os.ReadFile(filepath.Join(share, "from-guest")); err != nil || string(b) != "two" {
			t.Errorf("%q, %v", b, err)
		}
		if got := sh(t, v, "cat /mnt/const/from-host"); got != "three" {
			t.Errorf("%q", got)
		}
		var exit *ExitError
		if err := v.Command(t.Context(), "sh", "-c", "touch /fw/x 2>/dev/null || touch /mnt/const/x 2>/dev/null").Run(); !errors.As(err, &exit) {
			t.Errorf("writing to a read only share: %v", err)
		}
	})
	t.Run("firmware", func(t *testing.T) { testFirmware(t, v) })
}

// remoteproc writes to an attribute of the core.
func remoteproc(t *testing.T, v *VM, attribute, value string) error {
	t.Helper()
	return v.Command(t.Context(), "sh", "-c", `printf %s "$1" > /sys/class/remoteproc/remoteproc0/"$0" 2>/dev/null`, attribute, value).Run()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const trace = "cat /sys/kernel/debug/remoteproc/remoteproc0/trace0"

func state(t *testing.T, v *VM) string {
	t.Helper()
	return strings.TrimSpace(sh(t, v, "cat /sys/class/remoteproc/remoteproc0/state"))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func testFirmware(t *testing.T, v *VM) {
	sh(t, v, "cp /fw/*.elf /lib/firmware/; echo disabled > /sys/class/remoteproc/remoteproc0/recovery")
	run := func(t *testing.T, name string) {
		t.Helper()
		must(t, remoteproc(t, v, "firmware", name))
		begin := time.Now()
		must(t, remoteproc(t, v, "state", "start"))
		t.Logf("start took %v", time.Since(begin).Round(time.Millisecond))
	}
	stop := func(t *testing.T) {
		t.Helper()
		begin := time.Now()
		must(t, remoteproc(t, v, "state", "stop"))
		t.Logf("stop took %v", time.Since(begin).Round(time.Millisecond))
		if s := state(t, v); s != "offline" {
			t.Fatalf("state %q after stop", s)
		}
	}

	t.Run("hello_world", func(t *testing.T) {
		run(t, "hello_world.elf")
		eventually(t, "no tick", func() bool { return strings.Contains(sh(t, v, trace), "tick 2\n") })
		if got := sh(t, v, trace); !strings.HasPrefix(got, "Hello World from qemu-virt (cortex-m4)\ntick 1\ntick 2\n") || !strings.HasSuffix(got, "\x03") {
			t.Errorf("%q", got)
		}
		stop(t)
	})
	t.Run("restarts", func(t *testing.T) {
		for range 5 {
			run(t, "hello_world.elf")
			eventually(t, "no hello", func() bool { return strings.HasPrefix(sh(t, v, trace), "Hello World") })
			stop(t)
		}
	})
	t.Run("trace without loss", func(t *testing.T) {
		run(t, "noisy.elf")
		var follow follower
		eventually(t, "it does not come to the end", func() bool {
			follow.next([]byte(sh(t, v, trace)))
			return bytes.HasSuffix(follow.text, []byte("done\n"))
		})
		var want bytes.Buffer
		for i := range 2000 {
			fmt.Fprintf(&want, "line %06d abcdefghijklmnopqr\n", i)
		}
		want.WriteString("done\n")
		if !bytes.Equal(follow.text, want.Bytes()) {
			t.Errorf("%d bytes are not the %d expected", len(follow.text), want.Len())
		}
		stop(t)
	})
	t.Run("quiet", func(t *testing.T) {
		run(t, "quiet.elf")
		if got := sh(t, v, trace); got != "\x03" {
			t.Errorf("%q", got)
		}
		stop(t)
	})
	t.Run("stubborn", func(t *testing.T) {
		run(t, "stubborn.elf")
		stop(t)
	})
	t.Run("crash", func(t *testing.T) {
		run(t, "crash.elf")
		eventually(t, "it does not crash", func() bool { return state(t, v) == "crashed" })
		got := sh(t, v, trace)
		for _, want := range []string{"about to crash\n", "fault: usage fault at pc 6000", "cfsr 00010000"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in %q", want, got)
			}
		}
		must(t, remoteproc(t, v, "recovery", "recover"))
		if s := state(t, v); s != "running" {
			t.Errorf("state %q after recovery", s)
		}
		eventually(t, "it does not crash again", func() bool { return state(t, v) == "crashed" })
		must(t, remoteproc(t, v, "recovery", "recover"))
		stop(t)
	})
	t.Run("crash by debugfs", func(t *testing.T) {
		run(t, "hello_world.elf")
		must(t, remoteproc(t, v, "recovery", "disabled"))
		sh(t, v, "echo 1 > /sys/kernel/debug/remoteproc/remoteproc0/crash")
		eventually(t, "it does not crash by debugfs", func() bool { return state(t, v) == "crashed" })
		must(t, remoteproc(t, v, "recovery", "recover"))
		stop(t)
	})
}

// follower reads the trace buffer as hybrid.h describes it.
type follower struct {
	text     []byte
	position int // of ETX
}

func (f *follower) next(now []byte) {
	// the first one as seen from the last position
	end := bytes.IndexByte(now[min(f.position, len(now)):], 3)
	if end >= 0 {
		end += f.position
	} else {
		end = bytes.IndexByte(now, 3)
	}
	switch {
	case end < 0:
		return // the core turned the corner meanwhile
	case end >= f.position:
		f.text = append(f.text, now[f.position:end]...)
	default:
		f.text = append(append(f.text, now[f.position:]...), now[:end]...)
	}
	f.position = end
}

func TestBooted(t *testing.T) {
	cfg := config(t)
	cfg.Booted = filepath.Join(filepath.Dir(cfg.GuestInit), "hello_world.elf")
	v := start(t, cfg)
	if s := state(t, v); s != "detached" {
		t.Fatalf("state %q", s)
	}
	must(t, remoteproc(t, v, "state", "start"))
	if s := state(t, v); s != "attached" {
		t.Errorf("state %q", s)
	}
	eventually(t, "no tick", func() bool { return strings.Contains(sh(t, v, trace), "tick 1\n") })
	must(t, remoteproc(t, v, "state", "detach"))
	if s := state(t, v); s != "detached" {
		t.Errorf("state %q", s)
	}
	must(t, remoteproc(t, v, "state", "start"))
	must(t, remoteproc(t, v, "state", "stop"))
	if s := state(t, v); s != "offline" {
		t.Errorf("state %q", s)
	}
}

func TestGuestInitBroken(t *testing.T) {
	cfg := config(t)
	cfg.GuestInit = "/bin/true" // of another machine
	_, err := Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "virtual board: ") || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("%v", err)
	}
	noneLeft(t)
}

func TestStartCancelled(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond} {
		cause := errors.New("no more")
		ctx, cancel := context.WithTimeoutCause(t.Context(), after, cause)
		v, err := Start(ctx, config(t))
		if !errors.Is(err, cause) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", after, err)
		}
		if v != nil {
			v.Close()
		}
		cancel()
		noneLeft(t)
	}
}

func TestContextEnds(t *testing.T) {
	cause := errors.New("no more")
	ctx, cancel := context.WithCancelCause(t.Context())
	v, err := Start(ctx, config(t))
	if err != nil {
		t.Fatal(err)
	}
	c := v.Command(t.Context(), "sleep", "100")
	must(t, c.Start())
	cancel(cause)
	if err := c.Wait(); !errors.Is(err, cause) {
		t.Errorf("a command that ran: %v", err)
	}
	if err := v.Close(); err != nil && !errors.Is(err, cause) {
		t.Errorf("close: %v", err)
	}
	noneLeft(t)
}

func TestCloseLeavesNothing(t *testing.T) {
	count := func() (goroutines, files int) {
		open, _ := filepath.Glob("/proc/self/fd/*")
		return runtime.NumGoroutine(), len(open)
	}
	cfg := config(t)
	goroutines, files := count()
	v, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	must(t, v.Command(t.Context(), "true").Run())
	running := v.Command(t.Context(), "sleep", "100")
	must(t, running.Start())
	begin := time.Now()
	must(t, v.Close())
	t.Logf("close took %v", time.Since(begin).Round(time.Millisecond))
	if err := running.Wait(); !errors.Is(err, ErrClosed) {
		t.Errorf("a command that ran: %v", err)
	}
	must(t, v.Close())
	if err := v.Command(t.Context(), "true").Run(); !errors.Is(err, ErrClosed) {
		t.Errorf("a command afterwards: %v", err)
	}
	noneLeft(t)
	eventually(t, "goroutines or descriptors are left", func() bool {
		g, f := count()
		return g <= goroutines && f <= files
	})
}

// childrenOf are the processes that a process has started.
func childrenOf(pid int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task) // threads come and go
		for f := range strings.FieldsSeq(string(b)) {
			n, _ := strconv.Atoi(f)
			pids = append(pids, n)
		}
	}
	return pids
}

func noneLeft(t *testing.T) {
	t.Helper()
	if pids := childrenOf(os.Getpid()); len(pids) > 0 {
		t.Errorf("processes are left: %v", pids)
	}
}

// beParent starts a board and waits to be killed.
func beParent() error {
	v, err := Start(context.Background(), Config{GuestInit: os.Getenv("HYBRID_TEST_INIT")})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-v.ctx.Done()
	return v.Close()
}

func TestParentKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=parent", "HYBRID_TEST_INIT="+config(t).GuestInit)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		t.Errorf("%q, %v", line, err)
	}
	pids := childrenOf(cmd.Process.Pid)
	if len(pids) < 2 {
		t.Errorf("the board has %d processes", len(pids))
	}
	must(t, cmd.Process.Signal(syscall.SIGKILL))
	_ = cmd.Wait()
	eventually(t, "QEMU outlives its parent", func() bool {
		for _, pid := range pids {
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.HasPrefix(string(b), "qemu") {
				if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(b), ") Z ") {
					return false
				}
			}
		}
		return true
	})
}
