package process

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProcess(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // it is killed below
	id, err := Of(cmd.Process.Pid)
	if err != nil || !id.Alive() {
		t.Fatalf("%+v, %v", id, err)
	}
	reused := Identity{id.PID, id.Start + 1}
	if _, err := reused.Open(); reused.Alive() || !errors.Is(err, ErrGone) {
		t.Errorf("another process of the same number is taken for this one: %v", err)
	}
	h, err := id.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Wait(time.Millisecond) {
		t.Error("a running process has ended")
	}
	if err := h.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !h.Wait(10 * time.Second) {
		t.Error("a killed process has not ended")
	}
	if id.Alive() { // a zombie: nobody has waited for it
		t.Error("a zombie is alive")
	}
	if _, err := Of(cmd.Process.Pid); !errors.Is(err, ErrGone) {
		t.Errorf("a zombie: %v", err)
	}
	_ = cmd.Wait()
	if err := h.Signal(unix.SIGTERM); !errors.Is(err, ErrGone) {
		t.Errorf("signal to the dead: %v", err)
	}
	if _, err := id.Open(); !errors.Is(err, ErrGone) {
		t.Errorf("open the dead: %v", err)
	}
	if self, err := Of(os.Getpid()); err != nil || !self.Alive() {
		t.Errorf("self: %+v, %v", self, err)
	}
}
