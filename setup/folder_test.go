package setup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Folders that install makes go with uninstall: those that are empty, and none that was
// there before.
func TestFolders(t *testing.T) {
	all := []string{Docker, Containerd, Podman, K3s}
	for name, c := range map[string]struct {
		before    []string // folders
		engines   []string
		meanwhile string   // a file that somebody writes
		left      []string // folders, besides before
	}{
		"none was there":          {nil, all, "", nil},
		"empty ones were there":   {[]string{"etc", "etc/docker", "etc/containers"}, all, "", nil},
		"all were there":          {[]string{"etc", "etc/docker"}, []string{Docker}, "", nil},
		"another file comes":      {[]string{"etc"}, all, "etc/docker/key.json", []string{"etc/docker"}},
		"another file comes here": {nil, all, "etc/containers/policy.json", []string{"etc", "etc/containers"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := image(t)
			for _, dir := range c.before {
				if err := os.Mkdir(filepath.Join(m.Root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			want := folderNames(t, m)
			for _, dir := range c.left {
				want = append(want, filepath.Join(m.Root, dir))
			}
			slices.Sort(want)
			o := Options{Machine: m, Engines: c.engines, Containerd: "2.1"}
			if _, err := Install(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			if c.meanwhile != "" {
				write(t, m, c.meanwhile, "", 0o644)
			}
			if _, err := Uninstall(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			have := folderNames(t, m)
			slices.Sort(have)
			if !slices.Equal(have, want) {
				t.Errorf("folders are %q, want %q", have, want)
			}
			wantNoBackup(t, m)
		})
	}
}

// One engine after the other is as all at once.
func TestFoldersByEngine(t *testing.T) {
	m := image(t)
	before := folderNames(t, m)
	o := Options{Machine: m, Containerd: "2.1"}
	for _, do := range []func(context.Context, Options) ([]*Change, error){Install, Uninstall} {
		for _, e := range []string{Docker, Containerd, Podman, K3s} {
			o.Engines = []string{e}
			if _, err := do(context.Background(), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	if have := folderNames(t, m); !slices.Equal(have, before) {
		t.Errorf("folders are %q, were %q", have, before)
	}
}

// An uninstall that is killed before the folder is removed is ended by the next one.
func TestFolderLeft(t *testing.T) {
	m := image(t)
	before := folderNames(t, m)
	o := Options{Machine: m, Engines: []string{Docker}}
	if _, err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(m.Root, dockerConfig)); err != nil {
		t.Fatal(err)
	}
	if _, err := Uninstall(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if have := folderNames(t, m); !slices.Equal(have, before) {
		t.Errorf("folders are %q, were %q", have, before)
	}
}

// An install that fails leaves no folder.
func TestFolderOfFailure(t *testing.T) {
	m := image(t)
	before := folderNames(t, m)
	c := &Change{File: dockerConfig, After: []byte("{}\n"), path: filepath.Join(m.Root, dockerConfig), kept: []byte("x")}
	_, err := (&Options{Machine: m}).apply(func() ([]*Change, error) { return []*Change{c}, nil })
	if !errors.Is(err, errChanged) {
		t.Errorf("%v", err)
	}
	if have := folderNames(t, m); !slices.Equal(have, before) {
		t.Errorf("folders are %q, were %q", have, before)
	}
}

// Of many who make and remove one folder each ends, and what comes in the end is whole.
func TestFoldersConcurrently(t *testing.T) {
	m := image(t)
	o := Options{Machine: m, Engines: []string{Podman}}
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			for range 20 {
				do := Install
				if n%2 == 0 {
					do = Uninstall
				}
				if _, err := do(context.Background(), o); err != nil && !errors.Is(err, errChanged) {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if _, err := Uninstall(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	wantNoBackup(t, m)
	// one that lost its mark between two of them stays, and is empty
	if files := tree(t, m); len(files) != 0 {
		t.Errorf("files %q", files)
	}
}
