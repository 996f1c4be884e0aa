//go:build kernel

package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

// Of two processors of a kind a container gets the first that is free, or the one
// that is named.
func TestTwoProcessors(t *testing.T) {
	d := newDesk(t)
	a, b := d.run("a"), d.run("b")
	for id, want := range map[string]string{"a": "remoteproc0", "b": "remoteproc1"} {
		if got := d.state(id).Annotations["remoteproc.name"]; got != want {
			t.Errorf("container %s is on %s, want %s", id, got, want)
		}
	}
	d.refused("remote processor remoteproc0 (m4) is busy: container a holds it", "create", "-f", d.fw, "c")
	d.refused("remote processor remoteproc1 (m4) is busy: container b holds it", "create", "-f", d.fw, "-p", "m4-1", "c")

	// each has a file of its own, which may be changed after a crash
	if staged := d.staged(); len(staged) != 2 {
		t.Errorf("staged %q", staged)
	}
	d.must("kill", "a")
	if code := d.end(a); code != 0 {
		t.Errorf("a ended with %d", code)
	}
	if staged := d.staged(); len(staged) != 1 {
		t.Errorf("staged, with b running: %q", staged)
	}
	d.must("delete", "a")
	d.must("delete", "--force", "b")
	d.end(b)

	for name, args := range map[string][]string{
		"option":     {"-f", d.fw, "-p", "remoteproc1"},
		"node":       {"-f", d.fw, "--processor", "m4-1"},
		"annotation": {"--bundle", d.bundle(`"remoteproc.name": "remoteproc1"`)},
		"the name of both, and the first is busy": {"-f", d.fw, "-p", "m4"},
	} {
		first := strings.Contains(name, "busy")
		if first {
			d.must("create", "-f", d.fw, "-p", "remoteproc0", "first")
		}
		d.must(append(append([]string{"create"}, args...), "c")...)
		if got := d.state("c").Annotations["remoteproc.name"]; got != "remoteproc1" {
			t.Errorf("pinned by %s it is on %s", name, got)
		}
		d.must("delete", "--force", "c")
		if first {
			d.must("delete", "--force", "first")
		}
	}
}

// A processor that cannot be put back keeps nobody from the others.
func TestFirstProcessorIsBroken(t *testing.T) {
	d := newDesk(t)
	pid := d.run("a")
	d.cores[0].SetStopError(unix.EIO)
	_ = unix.Kill(pid, unix.SIGKILL)
	d.end(pid)
	d.must("create", "-f", d.fw, "b")
	if got := d.state("b").Annotations["remoteproc.name"]; got != "remoteproc1" {
		t.Errorf("it is on %s", got)
	}
	d.refused("remoteproc0 (m4) was left behind by a container whose monitor died, and cannot be put back: the processor does not stop: write \"stop\" to state of remoteproc0: input/output error",
		"create", "-f", d.fw, "-p", "remoteproc0", "c")
	d.must("delete", "--force", "b")
	d.cores[0].SetStopError(0)
	d.must("delete", "a")
}

func (d *desk) staged() []string {
	files, _ := filepath.Glob(filepath.Join(d.w.dir, "lib/firmware/hybrid/*"))
	return files
}

// The exit codes, as the parent of the container's process sees them.
func TestExitCodes(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		name   string
		end    func(pid int)
		code   int
		reason string
	}{
		{"TERM", func(int) { d.must("kill", "web") }, 0, "stopped on request"},
		{"INT", func(int) { d.must("kill", "web", "INT") }, 0, "stopped on request"},
		{"KILL", func(int) { d.must("kill", "web", "9") }, 137, "killed"},
		{"KILL of one that was frozen", func(pid int) { _ = unix.Kill(pid, unix.SIGSTOP); d.must("kill", "web", "KILL") }, 137, "killed"},
		{"crash", func(int) { d.cores[0].Crash(1) }, 139, "the firmware crashed: crash detected in m4: type watchdog"},
		{"stopped by hand", func(int) { d.stopByHand(0) }, 143, "remoteproc0 (m4) was stopped by somebody else: it is offline"},
		{"KILL from outside", func(pid int) { _ = unix.Kill(pid, unix.SIGKILL) }, 137, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			pid := d.run("web")
			start := time.Now()
			c.end(pid)
			if code := d.end(pid); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			t.Logf("ended after %v", time.Since(start).Round(100*time.Microsecond))
			s := d.state("web")
			if s.Status != "stopped" || s.PID != 0 || s.Annotations["hybrid.exit.reason"] != c.reason {
				t.Errorf("state %+v, want the reason %q", s, c.reason)
			}
			if code := s.Annotations["hybrid.exit.code"]; c.reason != "" && code != fmt.Sprint(c.code) {
				t.Errorf("recorded exit code %s", code)
			}
			d.must("delete", "web")
		})
	}
	t.Run("before the start", func(t *testing.T) {
		for signal, code := range map[string]int{"TERM": 0, "KILL": 137} {
			d.must("create", "-f", d.fw, "web")
			pid := d.state("web").PID
			d.must("kill", "web", signal)
			if got := d.end(pid); got != code {
				t.Errorf("%s: exit code %d, want %d", signal, got, code)
			}
			d.must("delete", "web")
		}
	})
}

func (d *desk) stopByHand(core int) {
	d.Helper()
	name := filepath.Join(d.w.dir, fmt.Sprintf("sys/class/remoteproc/remoteproc%d/state", core))
	if err := os.WriteFile(name, []byte("stop"), 0); err != nil {
		d.Error(err)
	}
}

// Signals that are not for firmware reach nobody.
func TestOtherSignals(t *testing.T) {
	d := newDesk(t)
	pid := d.run("web")
	for s := 1; s <= 64; s++ {
		switch unix.Signal(s) {
		case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGKILL:
		default:
			d.must("kill", "web", fmt.Sprint(s))
		}
	}
	time.Sleep(200 * time.Millisecond) // for what must not happen there is no condition to wait for
	if s := d.state("web"); s.Status != "running" {
		t.Errorf("state %+v", s)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || strings.Contains(string(stat), ") T ") {
		t.Errorf("the monitor is frozen: %s, %v", stat, err)
	}
	d.must("kill", "web")
	if code := d.end(pid); code != 0 {
		t.Errorf("exit code %d", code)
	}
	d.must("delete", "web")
}

// Who is told that a start failed finds a stopped container.
func TestBootError(t *testing.T) {
	d := newDesk(t)
	d.cores[0].SetBootError(unix.EIO)
	for range 10 {
		d.must("create", "-f", d.fw, "web")
		pid := d.state("web").PID
		d.refused(`cannot start container web: remoteproc0 (m4) does not boot: write "start" to state of remoteproc0: input/output error`, "start", "web")
		if s := d.state("web"); s.Status != "stopped" || s.Annotations["hybrid.exit.code"] != "1" {
			t.Errorf("state %+v", s)
		}
		d.must("delete", "web")
		if code := d.end(pid); code != 1 {
			t.Errorf("exit code %d", code)
		}
	}
}

// A signal while the driver boots: the one waits, the other does not for ever, and
// neither leaves a processor that runs.
func TestSignalWhileBooting(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		signal string
		delay  time.Duration
		code   int
	}{
		{"TERM", 500 * time.Millisecond, 0},
		{"KILL", 500 * time.Millisecond, 137},
		{"KILL", 5 * time.Second, 137}, // longer than kill waits for the monitor
	} {
		t.Run(fmt.Sprint(c.signal, " in ", c.delay), func(t *testing.T) {
			d.cores[0].SetBootDelay(c.delay)
			d.must("create", "-f", d.fw, "web")
			pid := d.state("web").PID
			started := make(chan result)
			go func() { started <- d.try("start", "web") }()
			time.Sleep(c.delay / 5)
			if s := d.state("web").Status; s != "created" {
				t.Errorf("while it boots it is %s", s)
			}
			begin := time.Now()
			d.must("kill", "web", c.signal)
			t.Logf("kill took %v", time.Since(begin).Round(time.Millisecond))
			if code := d.end(pid); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if state := d.attribute(0, "state"); state != "offline" {
				t.Errorf("the processor is %s", state)
			}
			<-started // whether it was in time
			if s := d.state("web"); s.Status != "stopped" || s.Annotations["hybrid.exit.code"] != fmt.Sprint(c.code) {
				t.Errorf("state %+v", s)
			}
			d.must("delete", "web")
			d.clean()
		})
	}
}

// A driver that does not stop the core: everybody says so, and the next verb tries
// again.
func TestStopError(t *testing.T) {
	d := newDesk(t)
	const why = `the processor does not stop: write "stop" to state of remoteproc0: input/output error`
	for _, signal := range []string{"TERM", "KILL"} {
		pid := d.run("web")
		d.cores[0].SetStopError(unix.EIO)
		d.must("kill", "web", signal)
		if code, want := d.end(pid), map[string]int{"TERM": 1, "KILL": 137}[signal]; code != want {
			t.Errorf("%s: exit code %d, want %d", signal, code, want)
		}
		if s := d.state("web"); s.Status != "stopped" || s.Annotations["hybrid.processor.state"] != "running" {
			t.Errorf("state %+v", s)
		}
		if log := d.try("logs", "web").err; !strings.Contains(log, "hybrid: cannot put remoteproc0 (m4) back: "+why) {
			t.Errorf("log %q", log)
		}
		d.refused(why, "delete", "web")
		d.refused(why, "create", "-f", d.fw, "-p", "remoteproc0", "next")
		if signal == "KILL" {
			d.refused(why, "delete", "--force", "web") // it goes, and what is wrong is said
			d.refused("does not exist", "state", "web")
		}
		d.cores[0].SetStopError(0)
		d.must("list")
		if state := d.attribute(0, "state"); state != "offline" {
			t.Errorf("the processor is %s", state)
		}
		d.must("delete", "--force", "web")
		d.clean()
	}
}

// A crash and a kill at the same time: one of the two is the reason.
func TestCrashWhileKilled(t *testing.T) {
	d := newDesk(t)
	for i := range 12 {
		pid := d.run("web")
		d.cores[0].SetStopDelay(time.Duration(i%3) * 10 * time.Millisecond)
		signal := []string{"TERM", "KILL"}[i%2]
		go func() {
			time.Sleep(time.Duration(i) * time.Millisecond / 2)
			d.cores[0].Crash(2)
		}()
		d.try("kill", "web", signal)
		if code := d.end(pid); code != 0 && code != 137 && code != 139 {
			t.Errorf("%s: exit code %d", signal, code)
		}
		d.must("delete", "web")
		d.eventually("offline", func() bool { return d.attribute(0, "state") == "offline" })
	}
}

// A container is not running from the moment at which state says so, also while its
// monitor has not ended. SIGKILL reaches that one all the same.
func TestKillOfTheCrashed(t *testing.T) {
	d := newDesk(t)
	pid := d.run("web")
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.cores[0].Crash(1)
	for _, signal := range []string{"TERM", "WINCH", "KILL"} {
		if s := d.state("web"); s.Status != "stopped" || s.PID != 0 {
			t.Errorf("before %s: state %+v", signal, s)
		}
		d.refused("cannot signal container web: container not running", "kill", "web", signal)
	}
	if code := d.end(pid); code != 137 && code != 139 {
		t.Errorf("exit code %d", code)
	}
	d.must("delete", "web")
}

// The firmware's output is the container's, as its engine gave it. A crash is seen at
// once where the kernel's log may be read, and soon where it may not.
func TestStandardOutput(t *testing.T) {
	for name, c := range map[string]struct {
		noKmsg bool
		last   string
	}{
		"with /dev/kmsg":    {false, "hybrid: the firmware crashed: crash detected in m4: type watchdog\nhybrid: the kernel: handling crash #1 in m4\n"},
		"without /dev/kmsg": {true, "hybrid: the firmware crashed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeskWith(t, func(config *sysfs.Config) { config.NoKmsg = c.noKmsg })
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			pid := d.createWith("web", write)
			write.Close()
			d.must("start", "web")
			lines := bufio.NewReader(read)
			if line, err := lines.ReadString('\n'); line != greeting+"\n" {
				t.Errorf("the engine reads %q, %v", line, err)
			}
			if err := d.cores[0].Trace("more\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := lines.ReadString('\n'); line != "more\n" {
				t.Errorf("the engine reads %q, %v", line, err)
			}
			start := time.Now()
			d.cores[0].Crash(1)
			if code := d.end(pid); code != 139 {
				t.Errorf("exit code %d", code)
			}
			t.Logf("from the crash to the exit: %v", time.Since(start).Round(100*time.Microsecond))
			var rest bytes.Buffer
			if _, err := rest.ReadFrom(lines); err != nil || rest.String() != c.last {
				t.Errorf("the engine reads %q, %v", rest.String(), err)
			}
			if log := d.try("logs", "web"); log.out != greeting+"\nmore\n" || log.err != c.last {
				t.Errorf("log %+v", log)
			}
			d.must("delete", "web")
		})
	}
}

// A record that is damaged keeps nobody from ending the firmware that runs.
func TestDamagedWhileRunning(t *testing.T) {
	d := newDesk(t)
	pid := d.run("web")
	if err := os.WriteFile(filepath.Join(d.w.dir, "run/hybrid/containers/web/container.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.refused("container web is damaged: ", "kill", "web")
	d.must("delete", "--force", "web")
	if code := d.end(pid); code != 137 {
		t.Errorf("exit code %d", code)
	}
	if state := d.attribute(0, "state"); state != "offline" {
		t.Errorf("the processor is %s", state)
	}
}

// Of many who want the processors at once as many get one as there are, and the
// others are told who has them.
func TestManyAtOnce(t *testing.T) {
	d := newDesk(t)
	const many = 20
	for range 5 {
		results := make(chan result, many)
		for i := range many {
			go func() {
				id := fmt.Sprintf("web%d", i)
				r := d.try("create", "-f", d.fw, id)
				if r.code == 0 {
					r = d.try("start", id)
				}
				results <- r
			}()
		}
		got := 0
		for range many {
			switch r := <-results; {
			case r.code == 0:
				got++
			case !strings.Contains(r.err, " is busy: container web") && !strings.Contains(r.err, "is about to end"):
				t.Errorf("%q", r.err)
			}
		}
		if running := strings.Count(d.must("list"), " running "); got != 2 || running != 2 {
			t.Errorf("%d succeeded, %d are running: %s", got, running, d.must("list"))
		}
		for i := range many {
			d.must("delete", "--force", fmt.Sprintf("web%d", i))
		}
		d.clean()
	}
}

// An engine that went away, or does not read, keeps no crash from being seen.
func TestNobodyReads(t *testing.T) {
	d := newDesk(t)
	for name, gone := range map[string]bool{"gone": true, "asleep": false} {
		t.Run(name, func(t *testing.T) {
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			pid := d.createWith("web", write)
			write.Close()
			d.must("start", "web")
			if gone {
				read.Close()
			}
			if err := d.cores[0].Trace(strings.Repeat("x", 100_000)); err != nil { // more than a pipe holds
				t.Fatal(err)
			}
			d.eventually("the log has it all", func() bool { return len(d.must("logs", "web")) > 100_000 })
			start := time.Now()
			d.cores[0].Crash(1)
			if code := d.end(pid); code != 139 {
				t.Errorf("exit code %d", code)
			}
			took := time.Since(start)
			t.Logf("from the crash to the exit: %v", took.Round(time.Millisecond))
			if took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if state := d.attribute(0, "state"); state != "offline" {
				t.Errorf("the processor is %s", state)
			}
			d.must("delete", "web")
		})
	}
}

// What firmware says last is output, though the processor is stopped at once, which takes
// its trace buffers away.
func TestLastWords(t *testing.T) {
	d := newDesk(t)
	for name, end := range map[string]func(){
		"stopped": func() { d.must("kill", "web") },
		"killed":  func() { d.must("kill", "web", "KILL") },
		"crashed": func() { d.cores[0].Crash(1) },
	} {
		pid := d.run("web")
		d.eventually("the greeting", func() bool { return strings.Contains(d.must("logs", "web"), greeting) })
		d.calm(pid) // the buffers are looked at seldom
		if err := d.cores[0].Trace("last words\n"); err != nil {
			t.Fatal(err)
		}
		end()
		d.end(pid)
		if log := d.must("logs", "web"); !strings.HasSuffix(log, "\nlast words\n") {
			t.Errorf("%s: log %q", name, log)
		}
		d.must("delete", "web")
	}
}

// calm waits until a monitor does nothing for some time.
func (d *desk) calm(pid int) {
	d.Helper()
	const some = 200 * time.Millisecond // it looks for output after 20, 40, 80, 160, 320 ms
	before := d.switches(pid)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		time.Sleep(some)
		now := d.switches(pid)
		if now == before {
			return
		}
		before = now
	}
	d.Fatalf("the monitor, process %d, always does something", pid)
}

// switches are how often the threads of a process waited for something.
func (d *desk) switches(pid int) (n int) {
	d.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		d.Fatalf("process %d has no threads, %v", pid, err)
	}
	for _, thread := range threads {
		b, err := os.ReadFile(thread)
		_, after, found := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
		var one int
		if _, serr := fmt.Sscan(after, &one); err != nil || !found || serr != nil {
			d.Fatalf("%s: %q, %v", thread, b, errors.Join(err, serr))
		}
		n += one
	}
	return n
}

// The log of a container is bounded, and holds the latest.
func TestLogIsBounded(t *testing.T) {
	d := newDesk(t)
	const half = 256 << 10
	pid := d.run("web")
	for round := range 3 {
		var text strings.Builder
		for i := 0; text.Len() < traceSize-200; i++ {
			fmt.Fprintf(&text, "%d: line %06d\n", round, i)
		}
		if err := d.cores[0].Trace(text.String()); err != nil {
			t.Fatal(err)
		}
		d.eventually("it is logged", func() bool { return strings.HasSuffix(d.must("logs", "web"), text.String()[text.Len()-100:]) })
		for _, name := range []string{"console.log", "console.log.1"} {
			if info, err := os.Stat(filepath.Join(d.w.dir, "run/hybrid/containers/web", name)); err != nil || info.Size() > half {
				t.Errorf("%s is %d bytes, %v", name, info.Size(), err)
			}
		}
		log := d.must("logs", "web")
		if len(log) < half/5 || // an entry is four times as long as these lines
			!strings.HasSuffix(text.String(), log) {
			t.Errorf("%d bytes are kept, and they are not the latest", len(log))
		}
		if err := d.cores[0].ResetTrace(); err != nil {
			t.Fatal(err)
		}
		const anew = "started anew\n" // once it is logged, the monitor has seen that the buffer was emptied
		if err := d.cores[0].Trace(anew); err != nil {
			t.Fatal(err)
		}
		d.eventually("the monitor sees the empty buffer", func() bool { return strings.HasSuffix(d.must("logs", "web"), anew) })
	}
	d.must("delete", "--force", "web")
	d.end(pid)
}

// The monitor keeps what it needs and nothing of its caller's, and is small.
func TestMonitorProcess(t *testing.T) {
	d := newDesk(t)
	foreign, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	pid := d.createWith("web", null, foreign, foreign)
	d.must("start", "web")
	d.eventually("the greeting", func() bool { return d.must("logs", "web") != "" })
	for fd, to := range descriptors(t, pid) {
		want := map[int]string{0: "^/dev/null$", 1: "^/dev/null$", 2: "^/dev/null$", 3: "/run/hybrid/processors/remoteproc0.lock$", 5: "^socket:"}[fd]
		if fd == 4 || fd > 5 {
			want = `^anon_inode:|/trace0$|/state$|/console.log$|/dev/kmsg$|^/sys/fs/cgroup/`
		}
		if !regexp.MustCompile(want).MatchString(to) || want == "" {
			t.Errorf("descriptor %d is %s", fd, to)
		}
	}
	t.Logf("descriptors: %q", sorted(descriptors(t, pid)))
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) != "hybrid-monitor\n" {
		t.Errorf("it is called %q, %v", comm, err)
	}
	d.eventually("the monitor gives back what only the start needed: at most 4000 kB are resident", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		var resident int
		_, line, _ := strings.Cut(string(b), "VmRSS:")
		if _, err := fmt.Sscanf(line, "%d kB", &resident); err != nil {
			t.Fatal(err)
		}
		if resident > 4000 {
			return false
		}
		t.Logf("resident: %d kB:%s", resident, regexp.MustCompile(`Rss(Anon|File):\s+\d+ kB|Threads:\s+\d+`).FindAllString(string(b), -1))
		return true
	})
	d.must("delete", "--force", "web")
	if code := d.end(pid); code != 137 {
		t.Errorf("exit code %d", code)
	}
}
