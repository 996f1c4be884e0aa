//go:build kernel

package facts

import (
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// runningList is what firmware does that a core executes: on the virtual board, and on
// the simulation with cores that run.
var runningList = []fact{
	{"hello_world greets, and goes on", []step{realFirmware("hello_world.elf"), prints("Hello World from qemu-virt (cortex-m4)\ntick 1\ntick 2\n")}},
	{"stop ends the firmware, and start begins anew", []step{
		realFirmware("hello_world.elf"), prints("tick 2\n"), write("state", "stop"), absent(debug + "trace0"),
		write("state", "start"), prints("tick 1\n"), lacks("tick 2\n"),
	}},
	{"firmware that faults crashes, and its last words stay", []step{
		write("recovery", "disabled"), realFirmware("crash.elf"), becomes("state", "crashed\n"), prints("about to crash\n"), stays("state", "crashed\n"),
	}},
	{"firmware that faults is restarted for ever", []step{
		realFirmware("crash.elf"), crashes(3), write("recovery", "disabled"), becomes("state", "crashed\n"), prints("about to crash\n"),
	}},
	{"a core dump has the last words", []step{
		write("coredump", "enabled"), write("recovery", "disabled"), realFirmware("crash.elf"), becomes("state", "crashed\n"), write("recovery", "recover"), lastWords,
	}},
	{"firmware that locks up is a crash", []step{
		write("recovery", "disabled"), put(library+"facts.elf", lockup), write("firmware", "facts.elf"), write("state", "start"), becomes("state", "crashed\n"),
		put(library+"facts.elf", good("fine\n").Bytes()), write("recovery", "recover"), stays("state", "running\n"),
	}},
	{"a core that crashed runs again", []step{
		realFirmware("hello_world.elf"), prints("tick 1\n"), crash, write("recovery", "recover"), reads("state", "running\n"), prints("tick 1\n"),
	}},
}

// lockup is firmware whose fault handler faults.
var lockup = func() []byte {
	const code = 0x40 // behind the vectors
	b := binary.LittleEndian.AppendUint32(nil, memory+0x8000)
	for len(b) < code {
		b = binary.LittleEndian.AppendUint32(b, memory+code+1)
	}
	f := good("")
	f.Segments[0].Data = append(b, 0, 0xde, 0, 0xde) // udf #0
	return f.Bytes()
}()

// prints waits until the trace has this text.
func prints(text string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		var got string
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			var err error
			if got, err = w.read(debug + "trace0"); err == nil && strings.Contains(got, text) {
				return
			}
		}
		t.Fatalf("the trace is %q, and never had %q", got, text)
	}
}

func lacks(text string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		if got, err := w.read(debug + "trace0"); err != nil || strings.Contains(got, text) {
			t.Fatalf("the trace is %q, %v", got, err)
		}
	}
}

// lastWords are in the segment of the trace.
func lastWords(t *testing.T, w *world) {
	t.Helper()
	content, err := w.read(dumpClass + dump(t, w) + "/data")
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	trace := f.Progs[len(f.Progs)-1]
	b := make([]byte, trace.Filesz)
	if _, err := trace.ReadAt(b, 0); err != nil || !strings.Contains(string(b), "about to crash\n") {
		t.Errorf("the trace in the dump is %q, %v", b[:min(200, len(b))], err)
	}
}
