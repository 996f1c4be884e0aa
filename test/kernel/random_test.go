//go:build kernel

package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// operations of the randomised run. {id} is one of few names; whatever is around an
// operation, its exit code is 0 or 1, and it says why in one line.
var operations = []struct {
	name   string
	weight int
	script string
}{
	{"create", 20, `hybrid-runtime create -f $FW {id}`},
	{"create of none", 2, `hybrid-runtime create -f $FW.none {id}`},
	{"run", 10, `hybrid-runtime run -d -f $FW {id}`},
	{"start", 20, `hybrid-runtime start {id}`},
	{"kill TERM", 8, `hybrid-runtime kill {id}`},
	{"kill KILL", 8, `hybrid-runtime kill {id} KILL`},
	{"delete", 12, `hybrid-runtime delete {id}`},
	{"delete --force", 8, `hybrid-runtime delete --force {id}`},
	{"state", 4, `hybrid-runtime state {id} >/dev/null`},
	{"list", 4, `hybrid-runtime list >/dev/null`},
	{"logs", 2, `hybrid-runtime logs {id} >/dev/null 2>&1`},
	{"a crash", 8, `echo 1 > $SYS/sys/kernel/debug/remoteproc/{processor}/crash`},
	{"a start by somebody else", 2, `echo start > $SYS/sys/class/remoteproc/{processor}/state`},
	{"a stop by somebody else", 4, `echo stop > $SYS/sys/class/remoteproc/{processor}/state`},
	{"a killed monitor", 10, `for p in $(hybrid-runtime ps -f json {id} | tr -d '[]'); do kill -9 $p; done`},
}

// verbs of operations that may be killed in the middle.
func killable(name string) bool {
	return strings.HasPrefix(name, "create") || strings.HasPrefix(name, "kill ") || strings.HasPrefix(name, "delete") || name == "start" || name == "run"
}

// randomRun does count operations on w, by two at once, and kills every fourth verb
// in the middle. What holds after each: no container is half there, list does not fail.
// What holds after all: delete --force cleans everything, and the processors start again.
func randomRun(t *testing.T, w world, fw string, processors []string, count int, longest time.Duration) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	before, err := traces(w)
	if err != nil {
		t.Fatal(err)
	}
	var table []int // operations by weight
	for i, o := range operations {
		table = append(table, slices.Repeat([]int{i}, o.weight)...)
	}
	type step struct{ name, script string }
	var steps []step
	for range count {
		o := operations[table[r.IntN(len(table))]]
		id, processor := []string{"a", "b", "c"}[r.IntN(3)], processors[r.IntN(len(processors))]
		s := step{o.name + " " + id, strings.NewReplacer("{id}", id, "{processor}", processor).Replace(o.script)}
		if killable(o.name) && r.IntN(4) == 0 {
			after := time.Duration(r.Int64N(int64(longest)))
			s.name += fmt.Sprintf(", killed after %v", after.Round(time.Microsecond))
			s.script = fmt.Sprintf("%s & p=$!; sleep %.4f; kill -9 $p 2>/dev/null; wait $p 2>/dev/null; true", s.script, after.Seconds())
		}
		steps = append(steps, s)
	}
	run := func(script string) (code int, out string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var b bytes.Buffer
		code, err := w.run(ctx, &b, &b, "sh", "-c", "FW=$0 SYS=$1; "+script, fw, w.sys())
		if err != nil {
			t.Errorf("%s: %v", script, err)
		}
		return code, b.String()
	}
	done := map[string]int{}
	var mutex sync.Mutex
	var workers sync.WaitGroup
	next := make(chan step)
	for range 2 {
		workers.Go(func() {
			for s := range next {
				begin := time.Now()
				code, out := run(s.script)
				if took := time.Since(begin); took > 20*time.Second {
					t.Errorf("%s: it took %v", s.name, took)
				}
				if code != 0 && code != 1 {
					t.Errorf("%s: exit code %d: %s", s.name, code, out)
				}
				for _, word := range []string{"panic", "goroutine", "damaged", "left behind"} {
					if strings.Contains(out, word) {
						t.Errorf("%s: %s", s.name, out)
					}
				}
				mutex.Lock()
				done[strings.Fields(s.name)[0]+map[bool]string{true: " done", false: " refused"}[code == 0]]++
				mutex.Unlock()
				code, out = run("hybrid-runtime list --format json")
				var list []struct{ ID, Status string }
				if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || strings.Contains(out, `"status":""`) {
					t.Errorf("after %s: list: exit code %d, %v: %s", s.name, code, err, out)
				}
			}
		})
	}
	for _, s := range steps {
		if t.Failed() {
			break
		}
		next <- s
	}
	close(next)
	workers.Wait()

	for _, p := range processors { // what somebody else has started, and nobody holds
		run(fmt.Sprintf("for i in 1 2 3 4; do echo stop > $SYS/sys/class/remoteproc/%s/state; done 2>/dev/null; true", p))
	}
	if code, out := run(`for id in a b c; do hybrid-runtime delete --force $id || exit 1; done; hybrid-runtime list -q`); code != 0 || out != "" {
		t.Errorf("delete --force: exit code %d: %s", code, out)
	}
	for _, p := range processors {
		if code, out := run(fmt.Sprintf(`for i in 1 2 3 4; do echo stop > $SYS/sys/class/remoteproc/%[1]s/state; done 2>/dev/null
hybrid-runtime run -d -f $FW -p %[1]s last && cat $SYS/sys/class/remoteproc/%[1]s/state && hybrid-runtime delete --force last`, p)); code != 0 || !strings.HasSuffix(out, "running\n") {
			t.Errorf("%s afterwards: exit code %d: %s", p, code, out)
		}
	}
	after, err := traces(w)
	for try := 0; err == nil && len(left(before, after)) > 0 && try < 40; try++ {
		time.Sleep(50 * time.Millisecond)
		after, err = traces(w)
	}
	if err != nil || len(left(before, after)) > 0 {
		t.Errorf("left behind: %q, %v", left(before, after), err)
	}
	t.Logf("%d operations: %v", count, done)
}

// left is what was not there before.
func left(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(after), func(s string) bool { return slices.Contains(before, s) })
}

func TestRandomSimulated(t *testing.T) {
	d := newDesk(t)
	randomRun(t, d.w, d.fw, []string{"remoteproc0", "remoteproc1"}, 600, 15*time.Millisecond)
}

func TestRandomVirtualBoard(t *testing.T) {
	fw := firmware(t)
	w, err := newVirtual(t.Context(), nil, fw)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	randomRun(t, w, filepath.Join(fw, "hello_world.elf"), []string{"remoteproc0"}, 60, 250*time.Millisecond)
}
