package setup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Of many who install and uninstall at once each sees whole files, and what comes in
// the end is one of the two.
func TestConcurrently(t *testing.T) {
	m := image(t)
	const name = "etc/docker/daemon.json"
	const before = "{\n  \"debug\": true\n}\n"
	write(t, m, name, before, 0o600)
	o := Options{Machine: m, Engines: []string{Docker}}
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			for range 20 {
				var err error
				if n%2 == 0 {
					_, err = Install(context.Background(), o)
				} else {
					_, err = Uninstall(context.Background(), o)
				}
				if err != nil && !errors.Is(err, errChanged) {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if _, err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := Uninstall(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	want(t, tree(t, m), map[string]string{name: before})
	wantNoBackup(t, m)
}

// A file that changes between the plan and the write is left as it is.
func TestChangedMeanwhile(t *testing.T) {
	m := image(t)
	const name = "etc/docker/daemon.json"
	write(t, m, name, "{}\n", 0o644)
	o := Options{Machine: m, Engines: []string{Docker}, DryRun: true}
	changes, err := Install(context.Background(), o)
	if err != nil || len(changes) != 1 {
		t.Fatal(changes, err)
	}
	write(t, m, name, "{ }\n", 0o644)
	if err := changes[0].apply(); !errors.Is(err, errChanged) {
		t.Errorf("%v", err)
	}
	want(t, tree(t, m), map[string]string{name: "{ }\n"})
	wantNoBackup(t, m)
}

// Where a file cannot be written nothing of it is left.
func TestNoRoom(t *testing.T) {
	m := image(t)
	write(t, m, "etc/docker/daemon.json", "{}\n", 0o644)
	if err := os.Mkdir(filepath.Join(m.Root, dockerConfig+backupSuffix+newSuffix), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, m, dockerConfig+backupSuffix+newSuffix+"/x", "", 0o644)
	_, err := Install(context.Background(), Options{Machine: m, Engines: []string{Docker}})
	if err == nil || !strings.HasPrefix(err.Error(), "/etc/docker/daemon.json: open: ") {
		t.Errorf("%v", err)
	}
	if text := tree(t, m)["etc/docker/daemon.json"]; text != "{}\n" {
		t.Errorf("%q", text)
	}
}

// The configuration of a file that users edit meanwhile is theirs.
func TestEdited(t *testing.T) {
	const hybrid = "\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.hybrid]\n  runtime_type = \"io.containerd.hybrid.v1\"\n  [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.hybrid.options]\n    SystemdCgroup = false\n"
	for name, c := range map[string]struct{ before, edit, edited, after string }{
		"after it":       {"version = 3\n", hybrid, hybrid + "[debug]\nlevel = 'info'\n", "version = 3\n[debug]\nlevel = 'info'\n"},
		"before it":      {"version = 3\n", "version = 3\n", "version = 3\nroot = '/x' # data\n", "version = 3\nroot = '/x' # data\n"},
		"in it":          {"version = 3\n", "SystemdCgroup = false\n", "SystemdCgroup = false\n    Root = '/x'\n", "version = 3\n"},
		"no end before":  {"version = 3", "version = 3\n", "version = 3\noom_score = 1\n", "version = 3\noom_score = 1"},
		"migrated":       {"version = 3\n", "version = 3\n", "version = 4\n", "version = 4\n"},
		"file was there": {"# mine\nversion = 3\n", "# mine\n", "# mine and yours\n", "# mine and yours\nversion = 3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m := image(t)
			write(t, m, containerdConfig, c.before, 0o644)
			o := Options{Machine: m, Engines: []string{Containerd}}
			if _, err := Install(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			text := tree(t, m)[containerdConfig[1:]]
			edited := strings.Replace(text, c.edit, c.edited, 1)
			if edited == text {
				t.Fatalf("no %q in %q", c.edit, text)
			}
			write(t, m, containerdConfig, edited, 0o644)
			changes, err := Uninstall(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			if notes := fmt.Sprint(changes[0].Notes); notes != "[it was edited since: only what is hybrid's is removed]" {
				t.Errorf("notes %s", notes)
			}
			want(t, tree(t, m), map[string]string{containerdConfig[1:]: c.after})
			wantNoBackup(t, m)
		})
	}
}

// Where runc's driver of cgroups has changed, the file that said it goes.
func TestDriverChanges(t *testing.T) {
	m := image(t)
	const runc = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n  SystemdCgroup = true\n"
	write(t, m, containerdConfig, runc, 0o644)
	o := Options{Machine: m, Engines: []string{Containerd}}
	if _, err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	text := tree(t, m)["etc/containerd/config.toml"]
	if _, ok := tree(t, m)["etc/containerd/hybrid.toml"]; !ok || !strings.Contains(text, "hybrid.toml") {
		t.Fatalf("%q", text)
	}
	write(t, m, containerdConfig, strings.Replace(text, "true", "false", 1), 0o644)
	if _, err := Install(context.Background(), o); !errors.As(err, new(*ConflictError)) {
		t.Errorf("%v", err)
	}
	o.Force = true
	if _, err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(runc, "true", "false", 1)
	want(t, tree(t, m), map[string]string{
		"etc/containerd/config.toml": without + "\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.hybrid]\n  runtime_type = \"io.containerd.hybrid.v1\"\n",
	})
	if _, err := Uninstall(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	want(t, tree(t, m), map[string]string{"etc/containerd/config.toml": without})
	wantNoBackup(t, m)
}

// Where the file of one engine cannot be written, that of none is.
func TestUnwritable(t *testing.T) {
	m := image(t)
	write(t, m, dockerConfig, "{}\n", 0o644)
	write(t, m, containerdConfig, "version = 2\n", 0o644)
	o := Options{Machine: m, Engines: []string{Docker, Containerd}, DryRun: true}
	changes, err := Install(context.Background(), o)
	if err != nil || len(changes) != 2 {
		t.Fatal(changes, err)
	}
	// below a file nobody can, whatever the rights of who tests
	changes[1].path = filepath.Join(m.Root, dockerConfig, "config.toml")
	o.DryRun = false
	_, err = o.apply(func() ([]*Change, error) { return changes, nil })
	if err == nil || !strings.HasPrefix(err.Error(), containerdConfig+": its folder cannot be written: ") {
		t.Errorf("%v", err)
	}
	want(t, tree(t, m), map[string]string{dockerConfig[1:]: "{}\n", containerdConfig[1:]: "version = 2\n"})
	wantNoBackup(t, m)
}

// Where a file cannot be written after all, what was written before it is put back.
func TestFailsLate(t *testing.T) {
	for name, before := range map[string]string{
		"a file that was there": "{}\n",
		"one that was not":      "",
	} {
		t.Run(name, func(t *testing.T) {
			m := image(t)
			write(t, m, containerdConfig, "version = 2\n", 0o644)
			want := map[string]string{containerdConfig[1:]: "version = 2\n"}
			if before != "" {
				write(t, m, dockerConfig, before, 0o600)
				want[dockerConfig[1:]] = before
			}
			were := folderNames(t, m)
			o := Options{Machine: m, Engines: []string{Docker, Containerd}}
			fails := func(do func(context.Context, Options) ([]*Change, error)) {
				t.Helper()
				in := containerdConfig + newSuffix
				write(t, m, in+"/the-way", "", 0o644)
				changes, err := do(context.Background(), o)
				if err == nil || !strings.HasPrefix(err.Error(), containerdConfig+": open: ") || len(changes) != 0 {
					t.Errorf("%v, %v", changes, err)
				}
				if err := os.RemoveAll(filepath.Join(m.Root, in)); err != nil {
					t.Fatal(err)
				}
			}
			check := func() {
				t.Helper()
				have := tree(t, m)
				for name, text := range want {
					if have[name] != text {
						t.Errorf("%s is %q, want %q", name, have[name], text)
					}
				}
				if len(have) != len(want) {
					t.Errorf("files are %q", have)
				}
			}
			fails(Install)
			check()
			wantNoBackup(t, m)
			if are := folderNames(t, m); !slices.Equal(are, were) {
				t.Errorf("folders are %q, were %q", are, were)
			}
			if before != "" {
				if info, err := os.Stat(filepath.Join(m.Root, dockerConfig)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v, %v", info, err)
				}
			}
			if _, err := Install(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			was := want
			want = tree(t, m)
			fails(Uninstall)
			check()
			if _, err := Uninstall(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			want = was
			check()
			wantNoBackup(t, m)
		})
	}
}

// What somebody else has changed since is not put back, and is reported.
func TestNotUndone(t *testing.T) {
	m := image(t)
	write(t, m, dockerConfig, "{}\n", 0o644)
	o := Options{Machine: m, Engines: []string{Docker}, DryRun: true}
	changes, err := Install(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := changes[0].apply(); err != nil {
		t.Fatal(err)
	}
	write(t, m, dockerConfig, "{ }\n", 0o644)
	stay, err := undo(changes)
	if len(stay) != 1 || !errors.Is(err, errChanged) || !strings.HasPrefix(err.Error(), "not put back: "+dockerConfig+": ") {
		t.Errorf("%v, %v", stay, err)
	}
	if text := tree(t, m)[dockerConfig[1:]]; text != "{ }\n" {
		t.Errorf("%q", text)
	}
}

// An error has the name that the machine has for a file, once.
func TestLinkLoop(t *testing.T) {
	m := image(t)
	name := filepath.Join(m.Root, "loop")
	if err := os.Symlink("loop", name); err != nil {
		t.Fatal(err)
	}
	_, err := Install(context.Background(), Options{Machine: m, Configs: map[string]string{Docker: "/loop"}})
	if err == nil || err.Error() != "docker: /loop: too many levels of symbolic links" {
		t.Errorf("%v", err)
	}
}
