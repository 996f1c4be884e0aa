package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// eventWithin is how long an event may take until something is wrong.
const eventWithin = 20 * time.Second

// tenant is a kind of container of one containerd.
type tenant struct {
	name  string
	flags []string // of ctr run, what stands before the id
	args  []string // of the container
	crash func(pid int) error

	run, crashed, stopped []time.Duration
	shim, init            int           // resident, in KiB
	shimIdle, initIdle    time.Duration // of the processor's time, in watch
}

// engineBench is a containerd and who measures it.
type engineBench struct {
	ctr    []string
	events chan string
}

// benchEngines measures firmware under our shim beside a Linux container under the
// shim of containerd, by turns on the same containerd: from `ctr run -d` until it
// runs, from a crash and from SIGTERM to the event of the exit, and what both take
// while nothing happens. A Linux container crashes of SIGSEGV.
func benchEngines(ctx context.Context, runs int) (err error) {
	engines := os.Getenv("HYBRID_ENGINES")
	if engines == "" {
		return errors.New("HYBRID_ENGINES must name the folder of make engines")
	}
	work, err := os.MkdirTemp("", "hybrid-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b, err := board.Lookup("qemu-virt")
	if err != nil {
		return err
	}
	sysroot := filepath.Join(work, "sysroot")
	server, err := sysfs.Mount(sysroot, sysfs.Of(b))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Unmount()) }()
	hybrid, err := newHybrid(ctx, work, sysroot)
	if err != nil {
		return err
	}
	linux := filepath.Join(work, "linux")
	if err := goProgram(ctx, linux, "package main\n\nimport (\n\t\"os\"\n\t\"os/signal\"\n\t\"syscall\"\n)\n\n"+
		"func main() {\n\tc := make(chan os.Signal, 1)\n\tsignal.Notify(c, syscall.SIGTERM)\n\t<-c\n}\n"); err != nil {
		return err
	}
	e, stop, err := startEngine(ctx, work, engines, sysroot)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	options := filepath.Join(work, "options.toml")
	if err := os.WriteFile(options, fmt.Appendf(nil, "Root = %q\n", filepath.Join(work, "hybrid-root")), 0o600); err != nil {
		return err
	}
	tenants := []*tenant{
		{
			name:  "hybrid",
			flags: []string{"--runtime", "io.containerd.hybrid.v1", "--runtime-config-path", options, "--env", "HYBRID_BOARD=qemu-virt", "--env", "HYBRID_MCU=cortex-m4", "--rootfs", filepath.Join(hybrid.bundle, "rootfs")},
			args:  []string{"/hello_world.elf"},
			crash: func(int) error { server.Core(0).Crash(sysfs.Watchdog); return nil },
		},
		{
			name:  "runc",
			flags: []string{"--runtime", "io.containerd.runc.v2", "--runc-binary", filepath.Join(engines, "runc/usr/sbin/runc"), "--runc-root", filepath.Join(work, "runc-root"), "--rootfs", linux},
			args:  []string{"/wait"},
			crash: func(pid int) error { return unix.Kill(pid, unix.SIGSEGV) },
		},
	}
	for n := range runs + 1 { // the first warms up
		for _, t := range tenants { // by turns: what disturbs one disturbs the other
			if err := e.lives(ctx, t, n > 0); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	for _, t := range tenants {
		if err := e.idles(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return reportEngines(tenants[0], tenants[1], runs)
}

// goProgram makes dir/wait of a source.
func goProgram(ctx context.Context, dir, source string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := dir + ".go"
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "wait"), file)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("a program for runc: %w: %s", err, out)
	}
	return nil
}

// startEngine starts a containerd that finds our binaries in bin, and listens to its events.
func startEngine(ctx context.Context, work, engines, sysroot string) (_ *engineBench, stop func() error, err error) {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return nil, nil, err
	}
	socket, config := filepath.Join(work, "containerd.sock"), filepath.Join(work, "config.toml")
	text := fmt.Sprintf("version = 3\nroot = %q\nstate = %q\n"+
		"disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", \"io.containerd.nri.v1.nri\"]\n"+
		"[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n", work+"/root", work+"/run", socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, nil, err
	}
	var log bytes.Buffer
	daemon := exec.Command(filepath.Join(engines, "containerd"), "--config", config)
	daemon.Env = append(os.Environ(), "PATH="+engines+":"+bin+":"+os.Getenv("PATH"), "HYBRID_SYSROOT="+sysroot)
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		return nil, nil, err
	}
	end := func() error {
		_ = daemon.Process.Signal(unix.SIGTERM)
		_ = daemon.Wait() // it says that it was told to end
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*/hybrid-bench")
		for _, d := range append(dirs, "/sys/fs/cgroup/hybrid-bench") {
			if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	e := &engineBench{ctr: []string{filepath.Join(engines, "ctr"), "--address", socket}, events: make(chan string, 100)}
	for deadline := time.Now().Add(eventWithin); ; time.Sleep(20 * time.Millisecond) {
		if _, err = e.call(ctx, "version"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return nil, nil, errors.Join(err, fmt.Errorf("containerd: %s", &log), end())
		}
	}
	listener := exec.Command(e.ctr[0], append(e.ctr[1:len(e.ctr):len(e.ctr)], "events")...)
	out, err := listener.StdoutPipe()
	if err == nil {
		err = listener.Start()
	}
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	go e.listen(out)
	return e, func() error {
		_ = listener.Process.Kill()
		_ = listener.Wait() // it was killed
		return end()
	}, nil
}

// listen passes events on, as they come.
func (e *engineBench) listen(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		e.events <- s.Text()
	}
	close(e.events)
}

// until waits for an event of a container, and returns how long it took.
func (e *engineBench) until(ctx context.Context, began time.Time, topic, id string) (time.Duration, error) {
	timeout := time.After(eventWithin)
	for {
		select {
		case line, open := <-e.events:
			switch {
			case !open:
				return 0, errors.New("ctr events ended")
			case strings.Contains(line, " "+topic+" ") && strings.Contains(line, `"`+id+`"`):
				return time.Since(began), nil
			}
		case <-timeout:
			return 0, fmt.Errorf("no event %s of %s", topic, id)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (e *engineBench) call(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, e.ctr[0], append(e.ctr[1:len(e.ctr):len(e.ctr)], args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second // a container keeps the output open
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

// up runs a container, and returns its process and how long ctr took.
func (e *engineBench) up(ctx context.Context, t *tenant, id string) (pid int, took time.Duration, err error) {
	args := slices.Concat([]string{"run", "--detach", "--null-io", "--cgroup", "/hybrid-bench/" + id}, t.flags, []string{id}, t.args)
	if i := slices.Index(args, "--rootfs"); i >= 0 { // a switch: the folder stands where an image does
		dir := args[i+1]
		args = slices.Delete(args, i+1, i+2)
		args = slices.Insert(args, slices.Index(args, id), dir)
	}
	began := time.Now()
	if _, err := e.call(ctx, args...); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	list, err := e.call(ctx, "tasks", "ls")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == id && f[2] == "RUNNING" {
			pid, err = strconv.Atoi(f[1])
			return pid, took, err
		}
	}
	return 0, 0, fmt.Errorf("%s does not run: %s", id, list)
}

// down removes a container, whatever it does.
func (e *engineBench) down(ctx context.Context, id string) error {
	if _, err := e.call(ctx, "tasks", "delete", "--force", id); err != nil && !strings.Contains(err.Error(), "exit code") {
		return err
	}
	_, err := e.call(ctx, "containers", "rm", id)
	return err
}

// lives has a container that crashes, and one that is stopped.
func (e *engineBench) lives(ctx context.Context, t *tenant, counted bool) (err error) {
	id := fmt.Sprintf("bench-%s", t.name)
	end := map[string]func(pid int) error{
		"crash": t.crash,
		"stop": func(int) error {
			_, err := e.call(ctx, "tasks", "kill", "--signal", "SIGTERM", id)
			return err
		},
	}
	for _, how := range []string{"crash", "stop"} {
		pid, run, err := e.up(ctx, t, id)
		if err != nil {
			return errors.Join(err, e.down(context.WithoutCancel(ctx), id))
		}
		time.Sleep(50 * time.Millisecond)
		began := time.Now()
		took, err := time.Duration(0), end[how](pid)
		if err == nil {
			took, err = e.until(ctx, began, "/tasks/exit", id)
		}
		if err := errors.Join(err, e.down(context.WithoutCancel(ctx), id)); err != nil {
			return err
		}
		if !counted {
			continue
		}
		t.run = append(t.run, run)
		if how == "crash" {
			t.crashed = append(t.crashed, took)
		} else {
			t.stopped = append(t.stopped, took)
		}
	}
	return nil
}

// idles looks at a container while nothing happens.
func (e *engineBench) idles(ctx context.Context, t *tenant) (err error) {
	id := fmt.Sprintf("bench-%s", t.name)
	pid, _, err := e.up(ctx, t, id)
	defer func() { err = errors.Join(err, e.down(context.WithoutCancel(ctx), id)) }()
	if err != nil {
		return err
	}
	shim, err := status(fmt.Sprintf("/proc/%d/status", pid), "PPid")
	if err != nil {
		return err
	}
	time.Sleep(calm)
	shimBefore, err := cpu(shim)
	if err != nil {
		return err
	}
	initBefore, err := cpu(pid)
	if err != nil {
		return err
	}
	time.Sleep(watch)
	if t.shimIdle, err = cpu(shim); err != nil {
		return err
	}
	if t.initIdle, err = cpu(pid); err != nil {
		return err
	}
	t.shimIdle -= shimBefore
	t.initIdle -= initBefore
	if t.shim, err = status(fmt.Sprintf("/proc/%d/status", shim), "VmRSS"); err != nil {
		return err
	}
	t.init, err = status(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
	return err
}

// cpu is how long the threads of a process have run.
func cpu(pid int) (total time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, name := range threads {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // a thread that ended
		} else if err != nil {
			return 0, err
		}
		ran, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}

func reportEngines(ours, theirs *tenant, runs int) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 1, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "on one containerd, median of %d\t%s\t%s\tratio\t\n", runs, ours.name, theirs.name)
	row := func(what, unit string, of func(t *tenant) float64) {
		ratio := "-"
		if of(theirs) != 0 {
			ratio = fmt.Sprintf("%.2f", of(ours)/of(theirs))
		}
		fmt.Fprintf(w, "%s\t%.2f %s\t%.2f %s\t%s\t\n", what, of(ours), unit, of(theirs), unit, ratio)
	}
	half := func(d []time.Duration) float64 {
		return milliseconds(median(d, func(a, b time.Duration) int { return int(a - b) }))
	}
	row("ctr run -d", "ms", func(t *tenant) float64 { return half(t.run) })
	row("crash to exit event", "ms", func(t *tenant) float64 { return half(t.crashed) })
	row("slowest of these", "ms", func(t *tenant) float64 { return milliseconds(slices.Max(t.crashed)) })
	row("ctr tasks kill to exit event", "ms", func(t *tenant) float64 { return half(t.stopped) })
	row("shim, resident", "MB", func(t *tenant) float64 { return float64(t.shim) / 1024 })
	row("init, resident", "MB", func(t *tenant) float64 { return float64(t.init) / 1024 })
	row("CPU of the shim in an idle second", "ms", func(t *tenant) float64 { return milliseconds(t.shimIdle) / watch.Seconds() })
	row("CPU of the init in an idle second", "ms", func(t *tenant) float64 { return milliseconds(t.initIdle) / watch.Seconds() })
	return w.Flush()
}
