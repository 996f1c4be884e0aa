package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/hybrid-containers/hybrid/sim/vm"
)

// benchBoard measures the verbs on the virtual board. The programs are copied to its
// memory first: it is not the shared folder that is measured.
func benchBoard(ctx context.Context, firmware string, runs int) (err error) {
	bin, err := filepath.Abs("bin/linux_arm")
	if err != nil {
		return err
	}
	board, err := vm.Start(ctx, vm.Config{
		GuestInit: filepath.Join(bin, "hybrid-sim-guest"),
		Shares:    []vm.Share{{Host: bin, Guest: "/bin.host", ReadOnly: true}, {Host: firmware, Guest: "/firmware", ReadOnly: true}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, board.Close()) }()
	if _, err := board.Command(ctx, "cp", "/bin.host/hybrid-runtime", "/bin/hybrid-runtime").Output(); err != nil {
		return fmt.Errorf("virtual board: %w", err)
	}
	commands := []struct {
		name string
		args []string
	}{
		{"true", []string{"true"}},
		{"create", []string{"hybrid-runtime", "create", "--firmware", "/firmware/hello_world.elf", "bench"}},
		{"start", []string{"hybrid-runtime", "start", "bench"}},
		{"state", []string{"hybrid-runtime", "state", "bench"}},
		{"kill", []string{"hybrid-runtime", "kill", "bench", "KILL"}},
		{"delete", []string{"hybrid-runtime", "delete", "bench"}},
	}
	samples := map[string][]sample{}
	for n := range 2*runs + 1 {
		for _, c := range commands {
			s, err := boardRun(ctx, board, n%2 == 0, c.args)
			if err != nil {
				return fmt.Errorf("virtual board: %s: %w", c.name, err)
			}
			if n > 0 {
				samples[c.name] = append(samples[c.name], s)
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 1, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nmedian of %d on the virtual board\ttime\t/ true\t\tpeak memory\t\n", runs)
	var base time.Duration
	for _, c := range commands {
		var walls, memories []sample
		for _, s := range samples[c.name] {
			if s.rss > 0 {
				memories = append(memories, s)
			} else {
				walls = append(walls, s)
			}
		}
		wall := median(walls, func(a, b sample) int { return int(a.wall - b.wall) }).wall
		if base == 0 {
			base = wall
		}
		rss := median(memories, func(a, b sample) int { return a.rss - b.rss }).rss
		fmt.Fprintf(w, "%s\t%.1f ms\t%.1f\t\t%.1f MB\t\n", c.name, milliseconds(wall), float64(wall)/float64(base), float64(rss)/1024)
	}
	return w.Flush()
}

var peakMemory = regexp.MustCompile(`Maximum resident set size \(kbytes\): (\d+)`)

// boardRun runs a command for its time, or below busybox's time for its memory: the
// process that starts it otherwise is larger than it, and would be what is measured.
func boardRun(ctx context.Context, board *vm.VM, memory bool, args []string) (sample, error) {
	if memory {
		args = append([]string{"time", "-v"}, args...)
	}
	var errOut bytes.Buffer
	cmd := board.Command(ctx, args[0], args[1:]...)
	cmd.Stderr = &errOut
	if err := cmd.Run(); err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, errOut.String())
	}
	if !memory {
		return sample{wall: cmd.Usage().Wall}, nil
	}
	found := peakMemory.FindStringSubmatch(errOut.String())
	if found == nil {
		return sample{}, fmt.Errorf("no peak memory in %q", errOut.String())
	}
	// busybox takes the kernel's KiB for pages of 4 KiB
	rss, err := strconv.Atoi(found[1])
	return sample{rss: rss / 4}, err
}
