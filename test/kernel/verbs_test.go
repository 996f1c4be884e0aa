//go:build kernel

package kernel

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/sysfs"
)

var update = flag.Bool("update", false, "write docs/verbs.md anew")

// verbsDocument is what TestVerbs writes, and then wants.
const verbsDocument = "../../docs/verbs.md"

const verbsHead = `# What each verb says in each state

Exit codes and messages of ` + "`hybrid-runtime`" + `, written by a test that runs every verb on a container named ` + "`web`" + ` in every
state. Messages go to standard error after ` + "`hybrid-runtime: `" + `, in one line, and to the file of ` + "`--log`" + `. A command line that
makes no sense is exit code 2; ` + "`run`" + ` without ` + "`--detach`" + ` ends with the container's exit code.
`

// Every verb in every state: its exit code, and what it says. The document has it all.
func TestVerbs(t *testing.T) {
	d := newDesk(t)
	running := func() (pid int) {
		pid = d.run("web")
		d.eventually("its output", func() bool { return d.must("logs", "web") != "" })
		return pid
	}
	stopped := func(end func(pid int)) func() {
		return func() { pid := running(); end(pid); d.end(pid) }
	}
	states := []struct {
		name string
		make func()
	}{
		{"no such container", func() {}},
		{"created", func() { d.must("create", "-f", d.fw, "web") }},
		{"running", func() { running() }},
		{"stopped on request", stopped(func(int) { d.must("kill", "web") })},
		{"killed", stopped(func(int) { d.must("kill", "web", "KILL") })},
		{"crashed", stopped(func(int) { d.cores[0].Crash(sysfs.Watchdog) })},
		{"stopped by somebody else", stopped(func(int) {
			if err := os.WriteFile(filepath.Join(d.w.dir, "sys/class/remoteproc/remoteproc0/state"), []byte("stop"), 0o644); err != nil {
				t.Fatal(err)
			}
		})},
		{"not booted", func() {
			d.must("create", "-f", d.fw, "web")
			d.cores[0].SetBootError(unix.EIO)
			pid := d.state("web").PID
			d.try("start", "web")
			d.end(pid)
			d.cores[0].SetBootError(0)
		}},
		{"its monitor was killed", stopped(func(pid int) { _ = unix.Kill(pid, unix.SIGKILL) })},
		{"its record is damaged", func() {
			pid := d.run("web")
			d.must("kill", "web")
			d.end(pid)
			if err := os.WriteFile(filepath.Join(d.w.dir, "run/hybrid/containers/web/container.json"), []byte(`{"id": "we`), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"another container has the processor", func() { d.must("create", "-f", d.fw, "-p", "remoteproc0", "other") }},
	}
	verbs := [][]string{
		{"create", "-f", d.fw, "-p", "remoteproc0", "web"},
		{"start", "web"},
		{"state", "web"},
		{"kill", "web"},
		{"kill", "web", "KILL"},
		{"kill", "web", "WINCH"},
		{"delete", "web"},
		{"delete", "--force", "web"},
		{"list", "--format", "json"},
		{"logs", "web"},
		{"ps", "--format", "json", "web"},
		{"events", "--stats", "web"},
		{"inspect", "web"},
		{"pause", "web"},
	}
	var b strings.Builder
	b.WriteString(verbsHead)
	for _, s := range states {
		fmt.Fprintf(&b, "\n## %s\n\n| verb | exit code | |\n|---|---|---|\n", strings.ToUpper(s.name[:1])+s.name[1:])
		for _, verb := range verbs {
			s.make()
			r := d.try(verb...)
			says := d.summary(verb[0], r)
			if strings.Count(r.err, "\n") > 1 && verb[0] != "logs" {
				t.Errorf("%s, %q: more than a line: %q", s.name, verb, r.err)
			}
			fmt.Fprintf(&b, "| `%s` | %d | %s |\n", strings.ReplaceAll(strings.Join(verb, " "), d.fw, "fw.elf"), r.code, says)
			for _, id := range []string{"web", "other"} {
				d.must("delete", "--force", id)
			}
			d.clean()
			if t.Failed() {
				t.Fatalf("after %q of a container that is: %s", verb, s.name)
			}
		}
	}
	if *update {
		if err := os.WriteFile(verbsDocument, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(verbsDocument)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("docs/verbs.md says otherwise (go test -tags kernel -run TestVerbs ./test/kernel -update): %s", firstDifference(b.String(), string(want)))
	}
}

// numbers are those of a message that are different each time.
var numbers = regexp.MustCompile(`(process |#)\d+`)

// summary is what a verb has said, without what is different each time.
func (d *desk) summary(verb string, r result) string {
	d.Helper()
	r.err = numbers.ReplaceAllString(r.err, "${1}N")
	if r.code != 0 {
		says := strings.TrimSuffix(strings.TrimPrefix(r.err, "hybrid-runtime: "), "\n")
		says = strings.ReplaceAll(says, d.w.dir+"/", "/")
		return strings.ReplaceAll(says, "|", `\|`)
	}
	switch verb {
	case "state", "inspect":
		var s status
		if err := json.Unmarshal([]byte(r.out), &s); err != nil {
			d.Errorf("%s: %v", r.out, err)
		}
		says := "status " + s.Status
		if code := s.Annotations["hybrid.exit.code"]; code != "" {
			says += fmt.Sprintf(", exit code %s, %s", code, s.Annotations["hybrid.exit.reason"])
		}
		return says
	case "list":
		var list []status
		if err := json.Unmarshal([]byte(r.out), &list); err != nil {
			d.Errorf("%s: %v", r.out, err)
		}
		var says []string
		for _, s := range list {
			if s.Status == "" {
				s.Status = "(no status)"
			}
			says = append(says, s.ID+" "+s.Status)
		}
		return strings.Join(says, ", ")
	case "ps":
		if r.out == "[]\n" {
			return "no process"
		}
		return "its monitor"
	case "logs":
		var says []string
		if r.out != "" {
			says = append(says, "what the firmware wrote")
		}
		if r.err != "" {
			says = append(says, "on standard error: "+strings.ReplaceAll(strings.TrimSpace(r.err), "\n", "; "))
		}
		return strings.Join(says, "; ")
	case "events":
		return "statistics"
	}
	if r.out != "" || r.err != "" {
		d.Errorf("%s says %q and %q", verb, r.out, r.err)
	}
	return ""
}

func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range as {
		if i >= len(bs) || as[i] != bs[i] {
			return fmt.Sprintf("line %d: %q", i+1, as[i])
		}
	}
	return "it has more lines"
}
