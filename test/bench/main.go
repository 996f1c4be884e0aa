// Command bench measures hybrid build beside buildctl and hybrid-runtime beside runc,
// in one run on one machine, and prints what matters: the ratios.
//
// Both runtimes do what an engine asks of them: create, start, state, kill, delete, of
// a container that does nothing; ours on a simulated processor that starts at once.
// Then the same verbs on the virtual board, where there is nothing to compare with but
// true(1): an emulated machine is slow.
//
// It takes root, /dev/fuse, runc and GNU time. Run it by `make bench`; `make
// bench-engines` measures under an engine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
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

func main() {
	runs := flag.Int("runs", 21, "how often each verb and each build is run; the median counts")
	flag.Parse()
	what := flag.Arg(0) // runtime, build or engines; the first two if it is not said
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	for _, b := range []struct {
		name string
		run  func(context.Context, int) error
	}{{"build", benchBuild}, {"runtime", bench}, {"engines", benchEngines}} {
		if what != b.name && (what != "" || b.name == "engines") { // that one is asked for
			continue
		}
		if err := b.run(ctx, *runs); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", b.name, err)
			os.Exit(1)
		}
	}
}

// verbs in the order of a container's life.
var verbs = []string{"create", "start", "state", "kill", "delete"}

// sample is one run of one verb.
type sample struct {
	wall time.Duration
	rss  int // KiB at most
}

// runtime is an OCI runtime that is measured.
type runtime struct {
	name    string
	program string
	env     []string
	bundle  string
	root    string
	memory  bool // is measured now, and not the time
	samples map[string][]sample
}

func bench(ctx context.Context, runs int) (err error) {
	work, err := os.MkdirTemp("", "hybrid-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	// engines keep the state of containers in /run, which is memory
	state, err := os.MkdirTemp("/dev/shm", "hybrid-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()

	sysroot := filepath.Join(work, "sysroot")
	b, err := board.Lookup("qemu-virt")
	if err != nil {
		return err
	}
	server, err := sysfs.Mount(sysroot, sysfs.Of(b))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Unmount()) }()

	ours, err := newHybrid(ctx, work, sysroot)
	if err != nil {
		return err
	}
	theirs, err := newRunc(ctx, work)
	if err != nil {
		return err
	}
	ours.root, theirs.root = filepath.Join(state, "hybrid"), filepath.Join(state, "runc")
	for n := range 2 * (runs + 1) {
		for _, r := range []*runtime{ours, theirs} { // by turns: what disturbs one disturbs the other
			r.memory = n%2 == 0
			if err := r.life(ctx, n > 1); err != nil {
				return err
			}
		}
	}
	if err := report(ours, theirs, runs); err != nil {
		return err
	}
	if err := ours.idle(ctx); err != nil {
		return err
	}
	if err := ours.crashes(ctx, server.Core(0), runs, "with /dev/kmsg"); err != nil {
		return err
	}
	if err := withoutLog(ctx, work, runs); err != nil {
		return err
	}
	return benchBoard(ctx, filepath.Join(ours.bundle, "rootfs"), runs)
}

func newHybrid(ctx context.Context, work, sysroot string) (*runtime, error) {
	program, err := filepath.Abs("bin/hybrid-runtime")
	if err != nil {
		return nil, err
	}
	bundle := filepath.Join(work, "firmware")
	rootfs := filepath.Join(bundle, "rootfs")
	sdk, err := filepath.Abs("sdk/baremetal")
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "make", "-C", "examples/hello_world", "SDK="+sdk, "BOARD=qemu-virt", "O="+rootfs).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("hello_world: %w: %s", err, out)
	}
	config := `{"ociVersion":"1.0.2","process":{"args":["/hello_world.elf"],"cwd":"/","env":["HYBRID_BOARD=qemu-virt","HYBRID_MCU=cortex-m4"]},"root":{"path":"rootfs"}}`
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	return &runtime{
		name: "hybrid-runtime", program: program, env: []string{"HYBRID_SYSROOT=" + sysroot},
		bundle: bundle, root: filepath.Join(work, "hybrid-root"), samples: map[string][]sample{},
	}, nil
}

func newRunc(ctx context.Context, work string) (*runtime, error) {
	program, err := exec.LookPath("runc")
	if err != nil {
		return nil, err
	}
	bundle := filepath.Join(work, "linux")
	if err := os.MkdirAll(filepath.Join(bundle, "rootfs"), 0o755); err != nil {
		return nil, err
	}
	source := filepath.Join(work, "wait.go")
	if err := os.WriteFile(source, []byte("package main\n\nimport \"time\"\n\nfunc main() { time.Sleep(time.Hour) }\n"), 0o600); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", filepath.Join(bundle, "rootfs/wait"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("a program for runc: %w: %s", err, out)
	}
	if out, err := exec.CommandContext(ctx, program, "spec", "--bundle", bundle).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("runc spec: %w: %s", err, out)
	}
	name := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	process := config["process"].(map[string]any)
	process["args"], process["terminal"] = []string{"/wait"}, false
	delete(process, "rlimits") // raising one takes a right that root in a container may not have
	if text, err = json.Marshal(config); err != nil {
		return nil, err
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return nil, err
	}
	return &runtime{name: "runc", program: program, bundle: bundle, root: filepath.Join(work, "runc-root"), samples: map[string][]sample{}}, nil
}

// life runs every verb once on one container. The first life warms up and is not
// counted.
func (r *runtime) life(ctx context.Context, counted bool) (err error) {
	id := fmt.Sprintf("bench%d", os.Getpid())
	defer func() {
		if err != nil {
			_, _, _ = r.run(context.WithoutCancel(ctx), "delete", "--force", id)
		}
	}()
	var state struct{ PID int }
	for _, verb := range verbs {
		args := map[string][]string{
			"create": {"create", "--bundle", r.bundle, id},
			"kill":   {"kill", id, "KILL"},
		}[verb]
		if args == nil {
			args = []string{verb, id}
		}
		s, out, err := r.run(ctx, args...)
		if err != nil {
			return err
		}
		if counted {
			r.samples[verb] = append(r.samples[verb], s)
		}
		switch verb {
		case "state":
			if err := json.Unmarshal(out, &state); err != nil {
				return fmt.Errorf("%s state: %w", r.name, err)
			}
		case "kill":
			if err := r.stopped(ctx, id, state.PID); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopped waits until a killed container has ended, and its process too.
func (r *runtime) stopped(ctx context.Context, id string, pid int) error {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, out, err := r.run(ctx, "state", id)
		if err != nil {
			return err
		}
		if strings.Contains(string(out), `"stopped"`) && ended(pid) {
			return nil
		}
	}
	return fmt.Errorf("%s: container %s does not stop", r.name, id)
}

// ended reports whether a process is gone, or nobody has waited for it yet.
func ended(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}

// run runs the program: for its time, or below GNU time, which takes time itself, for
// its memory. A program of Go would hand its own size down to a small child.
func (r *runtime) run(ctx context.Context, args ...string) (s sample, output []byte, err error) {
	argv := append([]string{r.program, "--root", r.root}, args...)
	report := filepath.Join(r.bundle, "peak")
	if r.memory {
		argv = append([]string{"/usr/bin/time", "-f", "%M", "-o", report}, argv...)
	}
	var out, errOut strings.Builder
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), r.env...)
	if args[0] == "create" { // the container keeps its output open
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return s, nil, err
		}
		defer null.Close()
		cmd.Stdout, cmd.Stderr = null, null
	} else {
		cmd.Stdout, cmd.Stderr = &out, &errOut
	}
	start := time.Now()
	err = cmd.Run()
	s.wall = time.Since(start)
	if err != nil {
		return s, nil, fmt.Errorf("%s %s: %w: %s", r.name, strings.Join(args, " "), err, errOut.String())
	}
	if r.memory {
		b, err := os.ReadFile(report)
		if err != nil {
			return s, nil, err
		}
		if s.rss, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
			return s, nil, err
		}
	}
	return s, []byte(out.String()), nil
}

// start starts a container, and returns the number of its process.
func (r *runtime) start(ctx context.Context, id string) (pid int, err error) {
	r.memory = false
	for _, args := range [][]string{{"create", "--bundle", r.bundle, id}, {"start", id}} {
		if _, _, err := r.run(ctx, args...); err != nil {
			return 0, err
		}
	}
	_, out, err := r.run(ctx, "state", id)
	if err != nil {
		return 0, err
	}
	var state struct{ PID int }
	err = json.Unmarshal(out, &state)
	return state.PID, err
}

// Times of the look at a monitor when nothing happens: it becomes calm, and is watched.
const (
	calm  = 3 * time.Second
	watch = 10 * time.Second
)

// idle prints what the monitor of a container takes while nothing happens.
func (r *runtime) idle(ctx context.Context) (err error) {
	id := fmt.Sprintf("idle%d", os.Getpid())
	defer func() {
		_, _, derr := r.run(context.WithoutCancel(ctx), "delete", "--force", id)
		err = errors.Join(err, derr)
	}()
	pid, err := r.start(ctx, id)
	if err != nil {
		return err
	}
	time.Sleep(calm)
	before, err := switches(pid)
	if err != nil {
		return err
	}
	time.Sleep(watch)
	after, err := switches(pid)
	if err != nil {
		return err
	}
	resident, err := status(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
	if err != nil {
		return err
	}
	fmt.Printf("the monitor, when nothing happens: %.1f MB resident, %.0f context switches a second (it looks once)\n", float64(resident)/1024, float64(after-before)/watch.Seconds())
	return nil
}

// crashes prints how long it takes from a crash of the core to the end of the container.
func (r *runtime) crashes(ctx context.Context, core *sysfs.Core, runs int, how string) (err error) {
	id := fmt.Sprintf("crash%d", os.Getpid())
	var took []time.Duration
	for range runs {
		pid, err := r.start(ctx, id)
		if err != nil {
			return err
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		core.Crash(sysfs.Watchdog)
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		}
		took = append(took, time.Since(start))
		unix.Close(fd)
		if err != nil {
			return err
		}
		if _, _, err := r.run(ctx, "delete", id); err != nil {
			return err
		}
	}
	slices.Sort(took)
	fmt.Printf("from a crash to the container's end, %s: %.1f ms (%.1f to %.1f)\n", how, milliseconds(took[runs/2]), milliseconds(took[0]), milliseconds(took[runs-1]))
	return nil
}

// withoutLog is crashes on a board whose kernel log may not be read.
func withoutLog(ctx context.Context, work string, runs int) (err error) {
	b, err := board.Lookup("qemu-virt")
	if err != nil {
		return err
	}
	sysroot := filepath.Join(work, "no-kmsg")
	config := sysfs.Of(b)
	config.NoKmsg = true
	server, err := sysfs.Mount(sysroot, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Unmount()) }()
	r, err := newHybrid(ctx, work, sysroot)
	if err != nil {
		return err
	}
	return r.crashes(ctx, server.Core(0), runs, "without")
}

// switches is how often the threads of a process have waited for something.
func switches(pid int) (n int, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	for _, t := range threads {
		m, err := status(t, "voluntary_ctxt_switches")
		if err != nil {
			return 0, err
		}
		n += m
	}
	return n, nil
}

// status is a number of proc_pid_status(5).
func status(name, field string) (int, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut("\n"+string(b), "\n"+field+":")
	if !found {
		return 0, fmt.Errorf("no %s in %s", field, name)
	}
	return strconv.Atoi(strings.Fields(rest)[0])
}

func median[T any](s []T, less func(a, b T) int) T {
	s = slices.Clone(s)
	slices.SortFunc(s, less)
	return s[len(s)/2]
}

// of are the samples of a verb that have the memory, or the time.
func (r *runtime) of(verb string, memory bool) []sample {
	return slices.DeleteFunc(slices.Clone(r.samples[verb]), func(s sample) bool { return (s.rss > 0) != memory })
}

func report(ours, theirs *runtime, runs int) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 1, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "median of %d\t%s\t%s\tratio\t\tpeak memory\t%s\tratio\t\n", runs, ours.name, theirs.name, theirs.name)
	for _, verb := range verbs {
		wall := func(r *runtime) time.Duration {
			return median(r.of(verb, false), func(a, b sample) int { return int(a.wall - b.wall) }).wall
		}
		rss := func(r *runtime) int {
			return median(r.of(verb, true), func(a, b sample) int { return a.rss - b.rss }).rss
		}
		fmt.Fprintf(w, "%s\t%.1f ms\t%.1f ms\t%.2f\t\t%.1f MB\t%.1f MB\t%.2f\t\n", verb,
			milliseconds(wall(ours)), milliseconds(wall(theirs)), float64(wall(ours))/float64(wall(theirs)),
			float64(rss(ours))/1024, float64(rss(theirs))/1024, float64(rss(ours))/float64(rss(theirs)))
	}
	return w.Flush()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
