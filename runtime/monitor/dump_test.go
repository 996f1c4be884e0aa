package monitor

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// The latest dumps stay, and those that another monitor is writing.
func TestPruneDumps(t *testing.T) {
	m := &monitor{config: Config{Coredump: t.TempDir()}}
	old := time.Now().Add(-time.Hour)
	for name, changed := range map[string]time.Time{
		"1-a.core": old, "2-b.core": old, "3-c.core": old, "4-killed.core.new": old, "5-busy.core.new": time.Now(), "notes.txt": old,
	} {
		name = filepath.Join(m.config.Coredump, name)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	m.pruneDumps(2)
	entries, err := os.ReadDir(m.config.Coredump)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"2-b.core", "3-c.core", "5-busy.core.new", "notes.txt"}; !slices.Equal(names, want) {
		t.Errorf("left %q, want %q", names, want)
	}
}
