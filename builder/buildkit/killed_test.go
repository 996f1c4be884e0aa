package buildkit

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRemoveKilled(t *testing.T) {
	executor := filepath.Join(t.TempDir(), "executor")
	if err := removeKilled(t.Context(), executor, "false"); err != nil {
		t.Errorf("a new state folder: %v", err)
	}
	kept := filepath.Join(executor, "mounted", "rootfs", "bin") // as if it were
	for _, dir := range []string{kept, filepath.Join(executor, "step", "rootfs"), filepath.Join(executor, "early")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"runc-log.json", "hosts.x", "step/config.json"} {
		if err := os.WriteFile(filepath.Join(executor, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeKilled(t.Context(), executor, "false"); err == nil {
		t.Error("what is mounted still is no error")
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("what is mounted is not left alone: %v", err)
	}
	entries, err := os.ReadDir(executor)
	if err != nil || len(entries) != 2 || entries[0].Name() != "mounted" || entries[1].Name() != "runc-log.json" {
		t.Errorf("left are %v, %v", entries, err)
	}
}
