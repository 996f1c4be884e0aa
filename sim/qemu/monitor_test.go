package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// server answers commands as QEMU does: answers by command, sent as they are.
func server(t *testing.T, answers map[string]string) (*Monitor, func()) {
	t.Helper()
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); ours.Close(); theirs.Close() })
	go func() {
		fmt.Fprint(theirs, `{"QMP": {"version": {}}}`+"\r\n")
		lines := bufio.NewScanner(theirs)
		for lines.Scan() {
			for command, answer := range answers {
				if strings.Contains(lines.Text(), `"execute":"`+command+`"`) {
					fmt.Fprint(theirs, answer)
				}
			}
		}
	}()
	answers["qmp_capabilities"] = `{"return": {}}` + "\n"
	m, err := newMonitor(ctx, ours)
	if err != nil {
		t.Fatal(err)
	}
	return m, func() { theirs.Close() }
}

func TestMonitor(t *testing.T) {
	m, hangUp := server(t, map[string]string{
		"query-name":   "{\"event\": \"NOISE\"}\n{\"return\": {\"name\": \"x\"}}\n",
		"bad":          `{"error": {"class": "GenericError", "desc": "no such thing"}}` + "\n",
		"system_reset": "{\"return\": {}}\nnot json\n{\"event\": \"OTHER\"}\n{\"event\": \"RESET\"}\n",
		"early":        "{\"event\": \"EARLY\"}\n{\"return\": {}}\n",
	})
	out, err := m.Execute(t.Context(), "query-name", nil)
	if err != nil || string(out) != `{"name": "x"}` {
		t.Errorf("query-name: %s, %v", out, err)
	}
	_, err = m.Execute(t.Context(), "bad", nil)
	var refused *CommandError
	if !errors.As(err, &refused) || err.Error() != "qemu: bad: no such thing" {
		t.Errorf("bad: %v", err)
	}
	if err := m.ExecuteUntil(t.Context(), "RESET", "system_reset"); err != nil {
		t.Errorf("system_reset: %v", err)
	}
	if err := m.ExecuteUntil(t.Context(), "EARLY", "early"); err != nil {
		t.Errorf("an event before the answer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.Execute(ctx, "silence", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
	hangUp()
	if _, err := m.Execute(t.Context(), "query-name", nil); err == nil {
		t.Error("no error from a monitor that is gone")
	}
}

func TestTail(t *testing.T) {
	b := &tail{limit: 4}
	for _, s := range []string{"ab", "cd", "ef"} {
		fmt.Fprint(b, s)
	}
	if b.String() != "cdef" {
		t.Errorf("%q", b.String())
	}
}
