package setup

import (
	"context"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the files after/ of testdata anew")

// image is a file system with our programs, in which engines are set up.
func image(t *testing.T) Machine {
	t.Helper()
	m := Machine{t.TempDir()}
	for _, name := range []string{"usr/bin/hybrid-runtime", "usr/bin/" + ShimName} {
		write(t, m, name, "#!/bin/sh\n", 0o755)
	}
	return m
}

func write(t *testing.T, m Machine, name, text string, mode fs.FileMode) {
	t.Helper()
	name = filepath.Join(m.Root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// tree are the files of a machine, but for our programs and what is kept.
func tree(t *testing.T, m Machine) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(m.Root, func(name string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(m.Root, name)
		if err != nil || e.IsDir() || strings.HasPrefix(rel, "usr/") || strings.HasSuffix(rel, backupSuffix) || filepath.Base(rel) == madeName {
			return err
		}
		b, err := os.ReadFile(name)
		files[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// folderNames are the folders of a machine.
func folderNames(t *testing.T, m Machine) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(m.Root, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// shape is a file of testdata: in its comment, lines "KEY VALUE…" say what is done; the
// files before/NAME become after/NAME, or error is what is said instead.
type shape struct {
	Options
	crlf, open bool // before/ and after/ have such ends of lines, or none at the end
	before     map[string]string
	after      map[string]string
	errs       string
}

func readShape(t *testing.T, m Machine, a *txtar.Archive) *shape {
	t.Helper()
	s := &shape{Options: Options{Machine: m, Configs: map[string]string{}}, before: map[string]string{}, after: map[string]string{}}
	for line := range strings.Lines(string(a.Comment)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		switch words[0] {
		case "engines":
			s.Engines = words[1:]
		case "config":
			s.Configs[words[1]] = words[2]
		case "containerd":
			s.Containerd = words[1]
		case "runtime":
			s.Runtime = words[1]
		case "force":
			s.Force = true
		case "crlf":
			s.crlf = true
		case "open":
			s.open = true
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	for _, f := range a.Files {
		text := string(f.Data)
		if s.crlf {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		before, isBefore := strings.CutPrefix(f.Name, "before/")
		after, isAfter := strings.CutPrefix(f.Name, "after/")
		switch {
		case isBefore && s.open:
			s.before[before] = strings.TrimRight(text, "\r\n")
		case isBefore:
			s.before[before] = text
		case isAfter:
			s.after[after] = text
		case f.Name == "error":
			s.errs = strings.TrimSpace(text)
		default:
			t.Fatalf("what is the file %s?", f.Name)
		}
	}
	return s
}

// TestShapes installs into files of every shape, twice, and uninstalls again.
func TestShapes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d shapes, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := readShape(t, image(t), a)
			for name, text := range s.before {
				write(t, s.Machine, name, text, 0o640)
			}
			were := folderNames(t, s.Machine)
			ctx := context.Background()
			dry := s.Options
			dry.DryRun = true
			_, err = Install(ctx, dry)
			want(t, tree(t, s.Machine), s.before)
			if err == nil {
				_, err = Install(ctx, s.Options)
			}
			if *update {
				rewrite(t, file, a, s, err)
				return
			}
			if s.errs != "" || err != nil {
				if err == nil || err.Error() != s.errs {
					t.Errorf("error %v, want %s", err, s.errs)
				}
				want(t, tree(t, s.Machine), s.before)
				return
			}
			if s.open {
				for name, text := range s.after {
					if text := tree(t, s.Machine)[name]; strings.HasSuffix(text, "\n") {
						continue
					}
					s.after[name] = strings.TrimRight(text, "\r\n")
				}
			}
			want(t, tree(t, s.Machine), s.after)
			again := s.Options
			again.Force = false
			changes, err := Install(ctx, again)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range changes {
				if c.Changed() {
					t.Errorf("the second time %s changes", c.File)
				}
			}
			want(t, tree(t, s.Machine), s.after)
			if _, err := Uninstall(ctx, again); err != nil {
				t.Fatal(err)
			}
			want(t, tree(t, s.Machine), s.before)
			wantNoBackup(t, s.Machine)
			if are := folderNames(t, s.Machine); !slices.Equal(are, were) {
				t.Errorf("folders are %q, were %q", are, were)
			}
		})
	}
}

func rewrite(t *testing.T, file string, a *txtar.Archive, s *shape, err error) {
	t.Helper()
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return !strings.HasPrefix(f.Name, "before/") })
	if err != nil {
		a.Files = append(a.Files, txtar.File{Name: "error", Data: []byte(err.Error() + "\n")})
	} else {
		after := tree(t, s.Machine)
		for _, name := range slices.Sorted(maps.Keys(after)) {
			a.Files = append(a.Files, txtar.File{Name: "after/" + name, Data: []byte(strings.ReplaceAll(after[name], "\r\n", "\n"))})
		}
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, have, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if have[name] != text {
			t.Errorf("%s is\n%q\nwant\n%q", name, have[name], text)
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is left: %q", name, have[name])
		}
	}
}

func wantNoBackup(t *testing.T, m Machine) {
	t.Helper()
	err := filepath.WalkDir(m.Root, func(name string, _ fs.DirEntry, err error) error {
		if strings.Contains(filepath.Base(name), ".hybrid-") {
			t.Errorf("%s is left", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
