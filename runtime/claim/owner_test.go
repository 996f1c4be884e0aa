package claim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOwner(t *testing.T) {
	h, ps := host(t)
	s := NewStore(h)
	owner := func(want Owner) {
		t.Helper()
		if got, err := s.Owner("remoteproc0"); err != nil || got != want {
			t.Errorf("owner %+v, %v, want %+v", got, err, want)
		}
	}
	owner(Owner{}) // no folder yet
	holder := Holder{ID: "web", Root: "/run/x"}
	c, err := s.Take(ps[0], holder, "example.com/core", nil)
	if err != nil {
		t.Fatal(err)
	}
	owner(Owner{holder, "example.com/core", false})
	if other, err := s.Owner("remoteproc1"); err != nil || other != (Owner{}) {
		t.Errorf("owner of another: %+v, %v", other, err)
	}
	stage(t, c, "abc") // the record is written anew
	owner(Owner{holder, "example.com/core", false})

	// while claims change hands the record counts
	unlock, err := s.lockFile("claims.lock", unix.LOCK_NB)
	if err != nil {
		t.Fatal(err)
	}
	owner(Owner{holder, "example.com/core", false})
	unlock()

	// dead: the record is there, and its lock is free
	c.unlock()
	owner(Owner{holder, "example.com/core", true})
	want(t, h, "lib/firmware/hybrid/abc.remoteproc0.elf", "run/hybrid/processors/remoteproc0.json")
	s.Sweep()
	owner(Owner{})
	want(t, h)

	if err := os.WriteFile(filepath.Join(s.Dir(), "remoteproc0.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Owner("remoteproc0"); err == nil || !strings.Contains(err.Error(), "remoteproc0.json: unexpected end") {
		t.Errorf("a damaged record: %v", err)
	}
}

// Who looks must leave no trace, and keep nobody from taking what is free.
func TestOwnerChangesNothing(t *testing.T) {
	h, ps := host(t)
	s := NewStore(h)
	if _, err := s.Owner("remoteproc0"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(h.Root, "run")); !os.IsNotExist(err) {
		t.Errorf("a folder was made: %v", err)
	}
	done, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = s.Owner("remoteproc0")
			}
		}
	}()
	for range 200 {
		c := take(t, s, ps[0], "web")
		if err := c.Release(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-done
}
