package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// epoch is the SOURCE_DATE_EPOCH that both are given.
const epoch = "0"

// buildSample is what one build took; cpu is that of the command and, where it is
// not in the command, of the daemon.
type buildSample struct {
	wall, cpu time.Duration
}

// builderUnderTest is one way to build hello_world.
type builderUnderTest struct {
	name    string
	command func(noCache bool) *exec.Cmd
	daemon  int                    // process number; 0: none
	samples map[bool][]buildSample // by noCache
}

// benchBuild measures hybrid build beside buildctl, which is the least that a client
// of BuildKit can do: on one buildkitd, on a served BuildKit, and embedded. buildctl
// gets the daemon for nothing: the processor time of both is compared as a whole, the
// wall time without the daemon's start.
func benchBuild(ctx context.Context, runs int) (err error) {
	engines, base := os.Getenv("HYBRID_ENGINES"), os.Getenv("HYBRID_SDK_BASE")
	if engines == "" || base == "" {
		return errors.New("HYBRID_ENGINES and HYBRID_SDK_BASE must be set: run make bench")
	}
	work, err := os.MkdirTemp("", "hybrid-bench-build-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	digest, err := layoutDigest(base)
	if err != nil {
		return err
	}
	hybrid, err := filepath.Abs("bin/hybrid")
	if err != nil {
		return err
	}

	socket := filepath.Join(work, "d.sock")
	daemon := exec.CommandContext(ctx, filepath.Join(engines, "buildkitd"), "--root", filepath.Join(work, "buildkitd"), "--addr", "unix://"+socket,
		"--oci-worker-net", "host", "--containerd-worker=false", "--oci-worker-gc=false")
	stopDaemon, err := serve(daemon, socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopDaemon()) }()
	served := filepath.Join(work, "served.sock")
	server := exec.CommandContext(ctx, hybrid, "builder", "serve", "--address", "unix://"+served, "--state", filepath.Join(work, "served"))
	stopServer, err := serve(server, served)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopServer()) }()

	out := filepath.Join(work, "image.tar")
	ours := func(env ...string) func(bool) *exec.Cmd {
		return func(noCache bool) *exec.Cmd {
			args := []string{"build", "--progress", "quiet", "--build-context", "toolchain=oci-layout://" + base, "-o", "type=oci,dest=" + out}
			if noCache {
				args = append(args, "--no-cache")
			}
			cmd := exec.CommandContext(ctx, hybrid, append(args, "examples/hello_world")...)
			cmd.Env = append(os.Environ(), append(env, "SOURCE_DATE_EPOCH="+epoch)...)
			return cmd
		}
	}
	buildctl := &builderUnderTest{name: "buildctl, buildkitd", daemon: daemon.Process.Pid, command: func(noCache bool) *exec.Cmd {
		args := []string{
			"--addr", "unix://" + socket, "build", "--progress", "quiet", "--frontend", "dockerfile.v0",
			"--local", "context=examples/hello_world", "--local", "dockerfile=examples/hello_world", "--local", "sdk=sdk/baremetal",
			"--opt", "context:sdk=local:sdk", "--opt", "context:toolchain=oci-layout://toolchain@" + digest, "--oci-layout", "toolchain=" + base,
			"--opt", "platform=linux/arm64", "--opt", "build-arg:SOURCE_DATE_EPOCH=" + epoch,
			"--output", "type=oci,rewrite-timestamp=true,annotation.board=imx8m-mini,annotation.mcu=cortex-m4,dest=" + out,
		}
		if noCache {
			args = append(args, "--no-cache")
		}
		return exec.CommandContext(ctx, filepath.Join(engines, "buildctl"), args...)
	}}
	all := []*builderUnderTest{
		buildctl,
		{name: "hybrid, the same buildkitd", daemon: daemon.Process.Pid, command: ours("BUILDKIT_HOST=unix://" + socket)},
		{name: "hybrid, builder serve", daemon: server.Process.Pid, command: ours("BUILDKIT_HOST=unix://" + served)},
		{name: "hybrid, embedded", command: ours("HYBRID_STATE="+filepath.Join(work, "embedded"), "HYBRID_BUILDER=embedded")},
	}
	for _, noCache := range []bool{false, true} {
		for n := range runs + 2 { // the first fills the cache, the second warms up
			for _, b := range all { // by turns: what disturbs one disturbs the others
				s, err := b.build(noCache)
				if err != nil {
					return err
				}
				if n > 1 {
					b.add(noCache, s)
				}
			}
		}
	}
	if err := reportBuilds(all, runs); err != nil {
		return err
	}
	return benchFirst(ctx, ours, work, out)
}

func (b *builderUnderTest) add(noCache bool, s buildSample) {
	if b.samples == nil {
		b.samples = map[bool][]buildSample{}
	}
	b.samples[noCache] = append(b.samples[noCache], s)
}

// build builds once.
func (b *builderUnderTest) build(noCache bool) (buildSample, error) {
	cmd := b.command(noCache)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	before, err := processorTime(b.daemon)
	if err != nil {
		return buildSample{}, err
	}
	start := time.Now()
	err = cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return buildSample{}, fmt.Errorf("%s: %w: %s", b.name, err, said.String())
	}
	after, err := processorTime(b.daemon)
	return buildSample{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() + after - before}, err
}

// processorTime is what a process and its children that ended have used, in the
// kernel's ticks of 10 ms (proc_pid_stat(5): utime, stime, cutime, cstime).
func processorTime(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var ticks int
	for _, field := range strings.Fields(rest)[11:15] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// serve starts a daemon and waits until it listens; the function that it returns
// stops it.
func serve(cmd *exec.Cmd, socket string) (stop func() error, err error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	var why error
	go func() { why = cmd.Wait(); close(ended) }()
	stop = func() error {
		if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
			return err
		}
		<-ended // a daemon that is told to stop may well say that it was
		return nil
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			return stop, conn.Close()
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("%s: %w: %s", cmd.Path, why, said.String())
		default:
		}
	}
	return nil, errors.Join(fmt.Errorf("%s does not listen on %s", cmd.Path, socket), stop())
}

// layoutDigest is that of the only image of an OCI layout: buildctl wants it said.
func layoutDigest(layout string) (string, error) {
	text, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		return "", err
	}
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(text, &index); err != nil || len(index.Manifests) != 1 {
		return "", fmt.Errorf("%s: want an index of one image: %w", layout, err)
	}
	return index.Manifests[0].Digest, nil
}

func reportBuilds(all []*builderUnderTest, runs int) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 1, 3, ' ', tabwriter.AlignRight)
	for _, noCache := range []bool{false, true} {
		title := "warm"
		if noCache {
			title = "--no-cache"
		}
		fmt.Fprintf(w, "%s, median of %d\twall\tratio\t\tprocessor\tratio\t\n", title, runs)
		var wall, cpu time.Duration
		for _, b := range all {
			thisWall := median(b.samples[noCache], func(x, y buildSample) int { return int(x.wall - y.wall) }).wall
			thisCPU := mean(b.samples[noCache])
			if wall == 0 {
				wall, cpu = thisWall, thisCPU
			}
			fmt.Fprintf(w, "%s\t%.1f ms\t%.2f\t\t%.0f ms\t%.2f\t\n", b.name, milliseconds(thisWall), float64(thisWall)/float64(wall),
				milliseconds(thisCPU), float64(thisCPU)/float64(cpu))
		}
	}
	return w.Flush()
}

// mean of the processor time: a daemon's is counted in ticks of 10 ms, which a median
// would round.
func mean(samples []buildSample) time.Duration {
	var sum time.Duration
	for _, s := range samples {
		sum += s.cpu
	}
	return sum / time.Duration(len(samples))
}

// benchFirst measures the first build in a fresh state folder, with the base image
// there, and what the image costs beside the firmware.
func benchFirst(ctx context.Context, ours func(...string) func(bool) *exec.Cmd, work, out string) error {
	const runs = 3
	var samples []buildSample
	for n := range runs {
		b := &builderUnderTest{name: "hybrid, fresh state folder", command: ours("HYBRID_BUILDER=embedded", "HYBRID_STATE="+filepath.Join(work, fmt.Sprint("fresh", n)))}
		s, err := b.build(false)
		if err != nil {
			return err
		}
		samples = append(samples, s)
	}
	first := median(samples, func(x, y buildSample) int { return int(x.wall - y.wall) })
	fmt.Printf("\nthe first build in a fresh state folder, median of %d: %.1f s (processor %.1f s)\n", runs, first.wall.Seconds(), first.cpu.Seconds())

	image, err := os.Stat(out)
	if err != nil {
		return err
	}
	blobs, layer, err := blobSizes(ctx, out)
	if err != nil {
		return err
	}
	fmt.Printf("the image: %d bytes of blobs, of which the compressed firmware is %d: %d more (the archive has %d)\n", blobs, layer, blobs-layer, image.Size())
	return nil
}

// blobSizes are the bytes of all blobs of an OCI archive, and of the largest, which is
// the firmware's layer.
func blobSizes(ctx context.Context, archive string) (all, largest int64, err error) {
	listing, err := exec.CommandContext(ctx, "tar", "tvf", archive).Output()
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(listing)) {
		f := strings.Fields(line)
		if len(f) < 6 || !strings.HasPrefix(f[5], "blobs/sha256/") || strings.HasSuffix(f[5], "/") {
			continue
		}
		size, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		all, largest = all+size, max(largest, size)
	}
	return all, largest, nil
}
