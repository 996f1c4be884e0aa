package buildkit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpenCannot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	t.Setenv("PATH", t.TempDir()) // no runc
	want := ErrNeedsRunc
	if os.Geteuid() != 0 {
		want = ErrNeedsRoot
	}
	_, err := Open(t.Context(), Options{Builder: UseEmbedded, StateDir: dir})
	if !errors.Is(err, want) || !strings.Contains(err.Error(), "BUILDKIT_HOST") {
		t.Errorf("error %v, want %v", err, want)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a state folder is left")
	}
}

func TestOpenAddress(t *testing.T) {
	for address, want := range map[string]string{
		"unix://" + t.TempDir() + "/nobody.sock": "no such file or directory",
		"nonsense://x":                           "nonsense",
	} {
		_, err := Open(t.Context(), Options{Address: address})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: error %v, want %q", address, err, want)
		}
	}
}

func TestLockState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first, err := lockState(t.Context(), dir, func(string) { t.Error("waits for nobody") }, nil)
	if err != nil {
		t.Fatal(err)
	}
	waits := 0
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockPoll)
	defer cancel()
	if _, err := lockState(ctx, dir, func(string) { waits++ }, nil); !errors.Is(err, context.DeadlineExceeded) || waits != 1 {
		t.Errorf("error %v after %d notices, want one and the end of the context", err, waits)
	}
	time.AfterFunc(lockPoll, func() {
		if err := first.Unlock(); err != nil {
			t.Error(err)
		}
	})
	second, err := lockState(t.Context(), dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockState(t.Context(), filepath.Join(file, "x"), nil, nil); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("below a file: %v", err)
	}
}
