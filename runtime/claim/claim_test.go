package claim

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// host is a folder with the attributes of two processors. Nobody answers behind
// them: it shows what becomes of files, while the processors stay as they are.
func host(t *testing.T) (remoteproc.Host, []*remoteproc.Processor) {
	t.Helper()
	h := remoteproc.Host{Root: t.TempDir()}
	for _, instance := range []string{"remoteproc0", "remoteproc1"} {
		for name, content := range map[string]string{"name": "m4\n", "state": "offline\n", "firmware": "rproc-m4-fw\n", "recovery": "enabled\n"} {
			write(t, filepath.Join(h.Root, "sys/class/remoteproc", instance, name), content)
		}
	}
	ps, err := h.Processors()
	if err != nil {
		t.Fatal(err)
	}
	return h, ps
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// left lists the files of the host that claims make, without the locks, which stay.
func left(t *testing.T, h remoteproc.Host) []string {
	t.Helper()
	var found []string
	for _, dir := range []string{"run", "lib/firmware/hybrid"} {
		_ = filepath.WalkDir(filepath.Join(h.Root, dir), func(name string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasSuffix(name, ".lock") {
				rel, _ := filepath.Rel(h.Root, name)
				found = append(found, rel)
			}
			return nil
		})
	}
	slices.Sort(found)
	return found
}

func take(t *testing.T, s *Store, p *remoteproc.Processor, id string) *Claim {
	t.Helper()
	c, err := s.Take(p, Holder{ID: id, Root: "/run/x"}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stage(t *testing.T, c *Claim, hex string) {
	t.Helper()
	if err := c.Stage(strings.NewReader("content of "+hex), hex, nil); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, h remoteproc.Host, files ...string) {
	t.Helper()
	if got := left(t, h); !slices.Equal(got, files) {
		t.Errorf("there is %q, want %q", got, files)
	}
}

func TestTakeAndRelease(t *testing.T) {
	h, ps := host(t)
	s := NewStore(h)
	c := take(t, s, ps[0], "first")
	want(t, h, "run/hybrid/processors/remoteproc0.json")

	var busy *BusyError
	if _, err := s.Take(ps[0], Holder{ID: "second"}, "", nil); !errors.As(err, &busy) || busy.Holder.ID != "first" {
		t.Fatalf("a held processor was taken: %v", err)
	}
	if text := busy.Error(); text != "remote processor remoteproc0 (m4) is busy: container first holds it (hybrid-runtime --root /run/x list)" {
		t.Errorf("message %q", text)
	}
	if err := s.Reclaim("remoteproc0", Holder{ID: "second", Root: "/run/x"}); err != nil {
		t.Errorf("reclaim of a held one: %v", err)
	}
	first := Holder{ID: "first", Root: "/run/x"}
	if err := s.Reclaim("remoteproc0", first); !errors.As(err, &busy) || busy.Holder != first {
		t.Errorf("reclaim after a holder that lives: %v", err)
	}
	if !s.Holds("remoteproc0", first) || s.Holds("remoteproc0", Holder{ID: "first"}) || s.Holds("remoteproc1", first) {
		t.Error("it is not the first that holds")
	}
	s.Sweep()
	want(t, h, "run/hybrid/processors/remoteproc0.json") // held: not theirs

	other := take(t, s, ps[1], "other")
	if err := other.Release(); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	want(t, h)
	if err := take(t, s, ps[0], "second").Release(); err != nil {
		t.Fatal(err)
	}
}

func TestTakeWhatRuns(t *testing.T) {
	for state, says := range map[string]string{
		"running":  "it is running, and no container started it (echo stop > /sys/class/remoteproc/remoteproc0/state)",
		"attached": "it is attached, and no container started it",
		"detached": "the boot loader started it (hybrid-runtime create --attach takes it over)",
	} {
		h, ps := host(t)
		write(t, filepath.Join(h.Root, "sys/class/remoteproc/remoteproc0/state"), state+"\n")
		_, err := NewStore(h).Take(ps[0], Holder{ID: "web"}, "", nil)
		if busy := (*BusyError)(nil); !errors.As(err, &busy) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", state, err, says)
		}
		want(t, h)
	}
}

// Each claim has a file of its own, as one may be changed: see TestQuiet.
func TestStage(t *testing.T) {
	h, ps := host(t)
	s := NewStore(h)
	a, b := take(t, s, ps[0], "a"), take(t, s, ps[1], "b")
	stage(t, a, "abc")
	stage(t, b, "abc")
	file := filepath.Join(h.Root, "lib/firmware/hybrid/abc.remoteproc1.elf")
	if err := a.Configure(false); err != nil {
		t.Fatal(err)
	}
	if name, err := ps[0].Firmware(); err != nil || !strings.HasPrefix(name, "hybrid/abc.remoteproc0.elf") {
		t.Errorf("firmware %q, %v", name, err)
	}
	if err := a.Release(); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "content of abc" {
		t.Errorf("the second claim's file: %q, %v", content, err)
	}
	if err := b.Release(); err != nil {
		t.Fatal(err)
	}
	want(t, h)
	if exists(filepath.Dir(file)) {
		t.Error("the folder of staged files was left")
	}
}

// Who has handed a claim on and gets it back undoes what was done meanwhile.
func TestReleaseAfterAnother(t *testing.T) {
	h, ps := host(t)
	s := NewStore(h)
	first := take(t, s, ps[0], "web")
	stage(t, first, "abc")
	second, err := s.Inherit(ps[0], first.lock)
	if err == nil {
		err = second.Configure(false)
	}
	if err == nil {
		err = first.Release()
	}
	if err != nil {
		t.Fatal(err)
	}
	if name, err := ps[0].Firmware(); err != nil || !strings.HasPrefix(name, "rproc-m4-fw") {
		t.Errorf("firmware %q, %v", name, err)
	}
	want(t, h)
}

// A crashed core is restarted with firmware that does nothing.
func TestQuiet(t *testing.T) {
	h, ps := host(t)
	c := take(t, NewStore(h), ps[0], "web")
	quiet := []firmware.Patch{{Offset: 1, Bytes: []byte("--")}, {Offset: 6, Bytes: []byte("+")}}
	if err := c.Stage(strings.NewReader("012345678"), "abc", quiet); err != nil {
		t.Fatal(err)
	}
	c, err := NewStore(h).Inherit(ps[0], c.lock) // from the record
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Recover(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(h.Root, "lib/firmware/hybrid/abc.remoteproc0.elf"))
	if err != nil || string(b) != "0--345+78" {
		t.Errorf("%q, %v", b, err)
	}
	if b, _ := os.ReadFile(filepath.Join(h.Root, "sys/class/remoteproc/remoteproc0/recovery")); !strings.HasPrefix(string(b), "recover") {
		t.Errorf("recovery %q", b)
	}
}

// What the boot loader started is taken only on request, and what is offline is not
// what was meant then.
func TestTakeAttach(t *testing.T) {
	h, ps := host(t)
	s := NewStore(h)
	_, err := s.Take(ps[0], Holder{ID: "web"}, "", &Attach{})
	if busy := (*BusyError)(nil); !errors.As(err, &busy) || !strings.Contains(err.Error(), "is offline: there is nothing to attach to") {
		t.Errorf("%v", err)
	}
	write(t, filepath.Join(h.Root, "sys/class/remoteproc/remoteproc0/state"), "detached\n")
	c, err := s.Take(ps[0], Holder{ID: "web"}, "", &Attach{Detach: true})
	if err != nil || !c.Attached() {
		t.Fatal(err)
	}
	if err := c.Release(); err != nil {
		t.Error(err)
	}
	want(t, h)
}

// What a holder leaves when it is killed, at each step of its life.
func TestDeadHolder(t *testing.T) {
	for name, die := range map[string]func(t *testing.T, h remoteproc.Host, c *Claim){
		"taken":      func(*testing.T, remoteproc.Host, *Claim) {},
		"staged":     func(t *testing.T, _ remoteproc.Host, c *Claim) { stage(t, c, "abc") },
		"configured": func(t *testing.T, _ remoteproc.Host, c *Claim) { stage(t, c, "abc"); _ = c.Configure(false) },
		"staging": func(t *testing.T, h remoteproc.Host, c *Claim) {
			stage(t, c, "abc")
			write(t, filepath.Join(h.Root, "lib/firmware/hybrid/abc.remoteproc0.elf.new"), "half")
		},
		"saving": func(t *testing.T, h remoteproc.Host, _ *Claim) {
			write(t, filepath.Join(h.Root, "run/hybrid/processors/remoteproc0.json.new"), "{")
		},
		"saving the first record": func(t *testing.T, h remoteproc.Host, _ *Claim) {
			dir := filepath.Join(h.Root, "run/hybrid/processors")
			if err := os.Rename(filepath.Join(dir, "remoteproc0.json"), filepath.Join(dir, "remoteproc0.json.new")); err != nil {
				t.Fatal(err)
			}
		},
		"unstaging": func(t *testing.T, _ remoteproc.Host, c *Claim) {
			stage(t, c, "abc")
			c.record.Firmware = "" // as unstage does before it removes the file
			if err := c.save(); err != nil {
				t.Fatal(err)
			}
		},
		"unbound since": func(t *testing.T, h remoteproc.Host, c *Claim) {
			stage(t, c, "abc")
			_ = c.Configure(false)
			if err := os.RemoveAll(filepath.Join(h.Root, "sys/class/remoteproc/remoteproc0")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, ps := host(t)
			s := NewStore(h)
			c := take(t, s, ps[0], "web")
			die(t, h, c)
			c.Disown()
			s.Sweep()
			want(t, h)
			if name == "unbound since" {
				return
			}
			// without a sweep, the next one to take it does it
			c = take(t, s, ps[0], "web")
			die(t, h, c)
			c.Disown()
			if err := take(t, s, ps[0], "next").Release(); err != nil {
				t.Error(err)
			}
			want(t, h)
		})
	}
}

func TestInherit(t *testing.T) {
	h, ps := host(t)
	s := NewStore(h)
	c := take(t, s, ps[0], "web")
	stage(t, c, "abc")
	heir, err := s.Inherit(ps[0], c.File())
	if err != nil {
		t.Fatal(err)
	}
	if err := heir.Release(); err != nil {
		t.Fatal(err)
	}
	want(t, h)
}

// A record that cannot be read holds up its own processor only, with the way out.
func TestDamagedRecord(t *testing.T) {
	h, ps := host(t)
	s := NewStore(h)
	record := filepath.Join(h.Root, "run/hybrid/processors/remoteproc0.json")
	write(t, record, "{")
	write(t, filepath.Join(h.Root, "lib/firmware/hybrid/perhaps-used.elf"), "x")
	if _, err := s.Take(ps[0], Holder{ID: "web"}, "", nil); err == nil || !strings.Contains(err.Error(), "remoteproc0.json: unexpected end of JSON input (remove it once the processor is stopped)") {
		t.Errorf("take: %v", err)
	}
	s.Sweep()
	c := take(t, s, ps[1], "web")
	stage(t, c, "abc")
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(h.Root, "lib/firmware/hybrid/perhaps-used.elf")) {
		t.Error("a file that the damaged record may name was removed")
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	c = take(t, s, ps[0], "web")
	stage(t, c, "abc")
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	want(t, h)
}

func TestStageWhereNothingCanBeWritten(t *testing.T) {
	h, ps := host(t)
	write(t, filepath.Join(h.Root, "lib/firmware"), "a file where the folder should be") // stops root, too
	c := take(t, NewStore(h), ps[0], "web")
	err := c.Stage(strings.NewReader("x"), "abc", nil)
	if err == nil || !strings.Contains(err.Error(), "stage the firmware: mkdir ") || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("stage: %v", err)
	}
	if err := c.Release(); err != nil {
		t.Errorf("release: %v", err)
	}
	want(t, h)
}

func TestReclaimWhatIsNoProcessor(t *testing.T) {
	h, _ := host(t)
	write(t, filepath.Join(h.Root, "run/hybrid/victim.json"), "{}")
	for _, instance := range []string{"", ".", "..", "../victim", "remoteproc9"} {
		if err := NewStore(h).Reclaim(instance, Holder{ID: "web"}); err != nil {
			t.Errorf("%q: %v", instance, err)
		}
	}
	want(t, h, "run/hybrid/victim.json")
}

// A holder that is letting go must not have its processor stopped by hand.
func TestBusyWithoutARecord(t *testing.T) {
	err := &BusyError{Processor: &remoteproc.Processor{Instance: "remoteproc0"}}
	if want := "remote processor remoteproc0 is busy: its last container is about to end (try again)"; err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}
}
