package sysfs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

const traceAt = 0x1100

// good is firmware whose trace buffer holds 16 bytes, this text first.
func good(text string) []byte {
	return elftest.File{
		Segments: []elftest.Segment{{Addr: 0x1000, Data: []byte("code")}, {Addr: traceAt, Data: []byte(text), MemSize: 0x100}},
		Table:    elftest.Table(elftest.Trace(traceAt, 16, "trace")),
	}.Bytes()
}

// bench is a core with its firmware files and its kernel's log.
type bench struct {
	*Core
	t     *testing.T
	log   lockedBuffer
	files map[string][]byte
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newBench(t *testing.T, change func(*kernel, *Processor)) *bench {
	b := &bench{t: t, files: map[string][]byte{"a.elf": good("")}}
	k := &kernel{log: &b.log}
	k.open = func(name string) ([]byte, error) {
		if data, ok := b.files[name]; ok {
			return data, nil
		}
		return nil, syscall.ENOENT
	}
	p := Processor{Name: "m4", NodeName: "m4", Memory: []board.Region{{Name: "ram", Start: 0x1000, Size: 0x1000}}, Firmware: "a.elf"}
	if change != nil {
		change(k, &p)
	}
	b.Core = newCore(k, "remoteproc0", p)
	t.Cleanup(b.close)
	return b
}

// file finds an attribute, or with debug/ before it one of debugfs.
func (b *bench) file(name string) *file {
	b.t.Helper()
	files := b.attributes()
	if name == "control" {
		return b.control()
	}
	if n, ok := strings.CutPrefix(name, "debug/"); ok {
		files, name = b.debug(), n
	}
	for _, f := range files {
		if f.name == name {
			return f
		}
	}
	b.t.Fatalf("no file %s", name)
	return nil
}

func (b *bench) read(name string) string {
	b.t.Helper()
	content, err := b.file(name).show()
	if err != nil {
		b.t.Fatalf("read %s: %v", name, err)
	}
	return string(content)
}

func (b *bench) write(ctx context.Context, name, value string) error {
	b.t.Helper()
	return b.file(name).store(ctx, value)
}

// run makes writes of the form "name value", each with the errno that it may end
// with before it: "EINVAL state stop". Words with a colon wait for a content:
// "state: crashed".
func (b *bench) run(script ...string) {
	b.t.Helper()
	for _, line := range script {
		if name, want, ok := strings.Cut(line, ": "); ok {
			b.await(name, want)
			continue
		}
		var want syscall.Errno
		if first, rest, _ := strings.Cut(line, " "); strings.ToUpper(first) == first {
			want, _ = parseErrno(first)
			line = rest
		}
		name, value, _ := strings.Cut(line, " ")
		if err := b.write(context.Background(), name, value); err == nil && want != 0 || err != nil && errnoOf(err) != want {
			b.t.Fatalf("%s: %v, want errno %d", line, err, want)
		}
	}
}

func (b *bench) await(name, want string) {
	b.t.Helper()
	var got string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = strings.TrimSuffix(b.read(name), "\n"); got == want {
			return
		}
	}
	b.t.Fatalf("%s is %q, want %q", name, got, want)
}

// logs wants a text in the kernel's log, soon: the kernel too prints after the state
// has changed.
func (b *bench) logs(want string) {
	b.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(b.log.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("no %q in the log:\n%s", want, b.log.String())
		}
	}
}

func (b *bench) trace() string {
	b.t.Helper()
	traces := b.traceBuffers()
	if len(traces) == 0 {
		b.t.Fatal("no trace")
	}
	content, err := b.readTrace(traces[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return string(content)
}

func stopCrashed(k *kernel, _ *Processor) { k.stopCrashed = true }

func left(_ *kernel, p *Processor) { p.Attached, p.AttachedTrace = true, 16 }

func TestStates(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*kernel, *Processor)
		script []string
	}{
		"start and stop":   {nil, []string{"state: offline", "state start", "state: running", "state stop", "state: offline"}},
		"counted":          {nil, []string{"state start", "state start", "state stop", "state: running", "state stop", "state: offline", "EINVAL state stop"}},
		"missing":          {nil, []string{"firmware b.elf", "ENOENT state start", "state: offline", "EINVAL state stop"}},
		"busy":             {nil, []string{"state start", "EBUSY firmware b.elf", "firmware: a.elf"}},
		"detach":           {nil, []string{"EINVAL state detach", "state start", "EINVAL state detach"}},
		"words":            {nil, []string{"EINVAL state run", "EINVAL recovery on", "EINVAL coredump on", "EINVAL debug/crash x", "EINVAL firmware \n"}},
		"crash":            {nil, []string{"recovery disabled", "state start", "debug/crash 1", "state: crashed", "EINVAL state stop", "EBUSY coredump inline", "EBUSY debug/coredump inline", "EBUSY firmware x", "recovery recover", "state: running"}},
		"crash, newer":     {stopCrashed, []string{"recovery disabled", "state start", "debug/crash 1", "state: crashed", "state stop", "state: offline", "EINVAL state stop", "state start", "state: running"}},
		"start of a crash": {nil, []string{"recovery disabled", "state start", "debug/crash 1", "state: crashed", "state start", "state: crashed", "recovery enabled", "state: running", "state stop", "state: running", "state stop", "state: offline"}},
		"attach":           {left, []string{"state: detached", "firmware: a.elf", "EBUSY firmware x", "EINVAL state stop", "EINVAL state detach", "state start", "state: attached", "firmware: unknown", "EBUSY firmware x"}},
		"attach, detach":   {left, []string{"state start", "state detach", "state: detached", "firmware: a.elf", "state start", "state: attached"}},
		"attach, counted":  {left, []string{"state start", "state start", "state detach", "state: attached", "state detach", "state: detached"}},
		"attach, stop":     {left, []string{"state start", "state stop", "state: offline", "firmware: a.elf", "state start", "state: running"}},
		"attach, crash":    {left, []string{"recovery disabled", "state start", "control crash", "state: crashed", "recovery recover", "state: running", "firmware: a.elf"}},
		"boot error":       {nil, []string{"control boot-error EIO", "EIO state start", "state: offline", "control boot-error 110", "ETIMEDOUT state start", "control boot-error none", "state start", "state stop", "state: offline"}},
		"stop error":       {nil, []string{"control stop-error EBUSY", "state start", "EBUSY state stop", "state: running", "control stop-error none\n", "state stop", "state: offline"}},
		"recovery's boot error": {nil, []string{
			"recovery disabled", "state start", "control crash", "state: crashed", "control boot-error EIO", "recovery recover", "state: offline",
			"control boot-error none", "state start", "state: offline", "EINVAL state stop",
		}},
		"recovery's stop error": {nil, []string{"recovery disabled", "state start", "control crash", "state: crashed", "control stop-error EIO", "recovery recover", "state: crashed"}},
		"control":               {nil, []string{"EINVAL control", "EINVAL control boot-error EWHAT", "EINVAL control boot-delay soon", "EINVAL control boot-delay -1s", "EINVAL control crash hard", "ENXIO control trace x", "ENXIO control trace-reset"}},
	} {
		t.Run(name, func(t *testing.T) { newBench(t, test.change).run(test.script...) })
	}
}

func TestTrace(t *testing.T) {
	b := newBench(t, nil)
	b.run("state start", "control trace hello\n")
	if got := b.trace(); got != "hello\n" {
		t.Errorf("trace %q", got)
	}
	b.run("control trace and a lot more")
	if got := b.trace(); got != "hello\nand a lot " {
		t.Errorf("a full trace: %q", got)
	}
	b.run("control trace-reset\n", "control trace again")
	if got := b.trace(); got != "again" {
		t.Errorf("after a reset: %q", got)
	}
	old := b.traceBuffers()[0]
	b.run("state stop")
	if _, err := b.readTrace(old); errnoOf(err) != syscall.EIO {
		t.Errorf("the trace of what was stopped: %v", err)
	}
	b.run("state start")
	if got := b.trace(); got != "" {
		t.Errorf("the trace of the next boot: %q", got)
	}
	if now := b.traceBuffers()[0]; now.inode == old.inode {
		t.Error("the traces of two boots are the same file")
	}

	b.run("state stop")
	b.files["a.elf"] = elftest.File{Segments: []elftest.Segment{{Addr: 0x1000, Data: []byte("code")}}}.Bytes()
	b.run("state start")
	if err := b.Trace("x"); !errors.Is(err, ErrNoTrace) {
		t.Errorf("firmware without a trace buffer: %v", err)
	}
}

// TestAttachedTrace prints from firmware that a boot loader started.
func TestAttachedTrace(t *testing.T) {
	b := newBench(t, left)
	b.run("state start", "control trace hi")
	if got := b.trace(); got != "hi" {
		t.Errorf("trace %q", got)
	}
	b.run("state detach")
	if len(b.traceBuffers()) != 0 {
		t.Error("a detached core has traces")
	}
}

func TestGreeting(t *testing.T) {
	b := newBench(t, func(k *kernel, _ *Processor) { k.greeting = "run " + FirmwareName })
	b.run("state start")
	if got := b.trace(); got != "run a.elf\n" {
		t.Errorf("trace %q", got)
	}
	b.crash()
	if got := b.trace(); got != "run a.elf\n" {
		t.Errorf("after recovery %q", got)
	}
}

// TestLog has the words that the runtime prints when a boot fails.
func TestLog(t *testing.T) {
	b := newBench(t, nil)
	b.files["a.elf"] = elftest.File{Segments: []elftest.Segment{{Addr: 0x80, Data: []byte("code")}}}.Bytes()
	b.run("EINVAL state start")
	want := `remoteproc remoteproc0: powering up m4
remoteproc remoteproc0: Booting fw image a.elf, size 195
remoteproc remoteproc0: no resource table found for this firmware
remoteproc remoteproc0: bad phdr da 0x80 mem 0x4
remoteproc remoteproc0: Failed to load program segments: -22
remoteproc remoteproc0: Boot failed: -22
`
	if got := b.log.String(); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestSignal has a write wait for the lock of a slow boot, until a signal comes.
func TestSignal(t *testing.T) {
	b := newBench(t, nil)
	b.SetBootDelay(time.Hour)
	var boot sync.WaitGroup
	boot.Go(func() {
		if err := b.write(context.Background(), "state", "start"); errnoOf(err) != syscall.ESHUTDOWN {
			t.Errorf("start until the end of the simulation: %v", err)
		}
	})
	for len(b.lock) == 0 {
		time.Sleep(time.Millisecond)
	}
	if got := b.read("state"); got != "offline\n" {
		t.Errorf("state while booting: %q", got)
	}
	for _, test := range []struct {
		name, value string
		want        syscall.Errno
	}{
		{"state", "start", syscall.EINTR},
		{"state", "stop", syscall.EINTR},
		{"state", "detach", syscall.EINTR},
		{"firmware", "x", syscall.EINVAL},
		{"recovery", "recover", 0},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		err := b.write(ctx, test.name, test.value)
		cancel()
		if err == nil && test.want != 0 || err != nil && errnoOf(err) != test.want {
			t.Errorf("%s %s: %v, want errno %d", test.name, test.value, err, test.want)
		}
	}
	b.close()
	boot.Wait()
}

func TestDelay(t *testing.T) {
	b := newBench(t, nil)
	b.run("control boot-delay 30ms", "control stop-delay 20ms\n")
	for _, step := range []struct {
		value string
		least time.Duration
	}{{"start", 30 * time.Millisecond}, {"stop", 20 * time.Millisecond}} {
		begin := time.Now()
		b.run("state " + step.value)
		if d := time.Since(begin); d < step.least {
			t.Errorf("%s took %v", step.value, d)
		}
	}
}

func TestReadOnly(t *testing.T) {
	b := newBench(t, func(_ *kernel, p *Processor) { p.ReadOnly = true })
	for _, name := range []string{"state", "firmware", "recovery", "coredump"} {
		if f := b.file(name); f.mode != 0o444 || f.store != nil {
			t.Errorf("%s: mode %v", name, fs.FileMode(f.mode))
		}
	}
}

func TestUevent(t *testing.T) {
	newBench(t, nil).run("uevent change", "uevent add\n", "EINVAL uevent bogus")
}

func TestConfig(t *testing.T) {
	ok := Processor{Name: "a", NodeName: "a"}
	for name, test := range map[string]struct {
		processors []Processor
		want       string
	}{
		"good":    {[]Processor{ok, {Name: "a", NodeName: "b"}}, ""},
		"no name": {[]Processor{{NodeName: "a"}}, `processor 0: "" is not a name`},
		"no node": {[]Processor{ok, {Name: "b"}}, `processor 1 (b): "" is not a name of a device-tree node`},
		"escape":  {[]Processor{{Name: "b", NodeName: ".."}}, `processor 0 (b): ".." is not a name of a device-tree node`},
		"twice":   {[]Processor{ok, ok}, `processor 1 (a): there is another with the device-tree node "a"`},
	} {
		got := ""
		if err := (Config{Processors: test.processors}).check(); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestHang has firmware that prints by itself, and then does not.
func TestHang(t *testing.T) {
	b := newBench(t, nil)
	b.files["a.elf"] = elftest.File{
		Segments: []elftest.Segment{{Addr: 0x1000, Data: []byte("code")}},
		Table:    elftest.Table(elftest.Trace(traceAt, 0x800, "trace")),
	}.Bytes()
	b.run("ENXIO control tick 1ms", "EINVAL control tick x", "recovery disabled", "state start", "control tick 1ms")
	ticks := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); strings.Count(b.trace(), "tick ") < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q", b.trace())
			}
		}
	}
	ticks(2)
	if !strings.HasPrefix(b.trace(), "tick 1\ntick 2\n") {
		t.Errorf("%q", b.trace())
	}
	b.run("control hang")
	before := b.trace()
	time.Sleep(20 * time.Millisecond)
	b.run("control trace more")
	if b.trace() != before || b.read("state") != "running\n" {
		t.Errorf("%q, then %q; %s", before, b.trace(), b.read("state"))
	}
	b.run("state stop", "state start", "control trace-reset", "control trace again")
	if b.trace() != "again" {
		t.Errorf("%q", b.trace())
	}
	b.run("control tick 1ms")
	ticks(1)
	b.run("control tick 0")
	if before = b.trace(); !strings.Contains(before, "tick 1\n") {
		t.Errorf("%q", before)
	}
	time.Sleep(10 * time.Millisecond)
	if b.trace() != before {
		t.Errorf("%q, then %q", before, b.trace())
	}
}

// TestBootCrash crashes in every start: it succeeds, and recovery goes on for ever.
func TestBootCrash(t *testing.T) {
	b := newBench(t, nil)
	b.run("EINVAL control boot-crash x", "control boot-crash 2", "recovery disabled", "state start", "state: crashed")
	b.logs("crash detected in m4: type fatal error\nremoteproc remoteproc0: remote processor m4 is now up\nremoteproc remoteproc0: handling crash #1")
	b.run("recovery enabled")
	b.logs("handling crash #5")
	b.run("control boot-crash none")
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		before := b.log.String()
		time.Sleep(50 * time.Millisecond)
		if b.log.String() == before && b.read("state") == "running\n" {
			return
		}
	}
	t.Errorf("it does not come to rest: %s", b.read("state"))
}

// TestRelease ends a stop that hangs in the driver.
func TestRelease(t *testing.T) {
	b := newBench(t, nil)
	b.run("state start", "control stop-delay 1h")
	stopped := make(chan error)
	go func() { stopped <- b.write(context.Background(), "state", "stop") }()
	select {
	case err := <-stopped:
		t.Fatalf("stopped at once: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if b.read("state") != "running\n" {
		t.Errorf("state %q", b.read("state"))
	}
	b.run("control release")
	select {
	case err := <-stopped:
		if err != nil || b.read("state") != "offline\n" {
			t.Errorf("%v, state %q", err, b.read("state"))
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it hangs still")
	}
}
