package process

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leaderless, in the environment, makes this program one whose first thread has
// ended and whose others live on.
const leaderless = "HYBRID_TEST_LEADERLESS"

func init() {
	if os.Getenv(leaderless) == "" {
		return
	}
	runtime.LockOSThread() // init runs on the first thread
	other := make(chan struct{})
	go func() {
		close(other)
		time.Sleep(time.Hour)
	}()
	<-other
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0) // of the thread, not of the process
}

// A process lives as long as its last thread: its locks are held until then.
func TestProcessWithoutFirstThread(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), leaderless+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(status), "State:\tZ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("its first thread does not end:\n%s", status)
		}
	}
	id, err := Of(cmd.Process.Pid)
	if err != nil || !id.Alive() {
		t.Errorf("a process with living threads is gone: %+v, %v", id, err)
	}
	h, err := id.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Wait(10 * time.Millisecond) {
		t.Error("its end was seen while it lives")
	}
	if err := h.Signal(unix.SIGKILL); err != nil || !h.Wait(10*time.Second) {
		t.Errorf("it does not end: %v", err)
	}
	if id.Alive() {
		t.Error("it is alive after its end")
	}
}
