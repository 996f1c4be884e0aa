//go:build kernel

package remoteproc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

// TestMain serves a simulation in a process that another test started: who reads the
// kernel's log of a simulation must not be the one who serves it.
func TestMain(m *testing.M) {
	dir := os.Getenv("REMOTEPROC_SERVE")
	if dir == "" {
		os.Exit(m.Run())
	}
	p := sysfs.Processor{Name: "m4", NodeName: "m4-0", Firmware: "a.elf"}
	other := p
	other.NodeName = "m4-1"
	server, err := sysfs.Mount(dir, sysfs.Config{Processors: []sysfs.Processor{p, other}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until it is closed
	if err := server.Unmount(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// simulated is a host with two processors, remoteproc0 and remoteproc1.
func simulated(t *testing.T) Host {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "REMOTEPROC_SERVE="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the simulation: %v", err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the simulation says %q, %v", line, err)
	}
	elf := elftest.File{Segments: []elftest.Segment{{Type: 4, Data: []byte("note")}}}
	if err := os.WriteFile(filepath.Join(dir, "lib/firmware/a.elf"), elf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return Host{Root: dir}
}

// TestLogOfSimulation hears of a crash at once, of one processor only.
func TestLogOfSimulation(t *testing.T) {
	h := simulated(t)
	var processors [2]*Processor
	var logs [2]*Log
	for i := range processors {
		p, err := h.Processor(fmt.Sprintf("remoteproc%d", i))
		if err != nil {
			t.Fatal(err)
		}
		log, err := h.Log(p)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if err := errors.Join(p.SetRecovery(false), p.Start()); err != nil {
			t.Fatal(err)
		}
		processors[i], logs[i] = p, log
	}
	want := []string{"remoteproc remoteproc0: powering up m4", "remoteproc remoteproc0: Booting fw image a.elf, size 195", "remoteproc remoteproc0: no resource table found for this firmware", "remoteproc remoteproc0: remote processor m4 is now up"}
	if lines := logs[0].Drain(10); !slices.Equal(lines, want) {
		t.Errorf("the log says %q", lines)
	}
	heard := make(chan string, 2)
	go func() {
		for range 2 {
			line, err := logs[0].Next()
			if err != nil {
				line = err.Error()
			}
			heard <- line
		}
	}()
	time.Sleep(50 * time.Millisecond) // it waits
	crash := time.Now()
	if err := errors.Join(processors[1].Crash(FatalError), processors[0].Crash(Watchdog)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"remoteproc remoteproc0: crash detected in m4: type watchdog", "remoteproc remoteproc0: handling crash #1 in m4"} {
		select {
		case line := <-heard:
			if line != want {
				t.Errorf("heard %q, want %q", line, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("heard nothing")
		}
	}
	took := time.Since(crash)
	t.Logf("heard of the crash after %v", took.Round(10*time.Microsecond))
	if took > 100*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	// Close ends a Next that waits
	ended := make(chan error)
	go func() {
		_, err := logs[0].Next()
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	logs[0].Close()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Close does not end Next")
	}
}
