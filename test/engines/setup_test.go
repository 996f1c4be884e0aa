//go:build engine

package engines

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// What hybrid-setup writes is what the engines take: here they are told by it alone.

// setup runs hybrid-setup, which finds the shim in PATH.
func setup(t *testing.T, args ...string) string {
	t.Helper()
	dir := filepath.Dir(built(t))
	return client{args: []string{filepath.Join(dir, "hybrid-setup")}, env: []string{"PATH=" + dir + ":" + os.Getenv("PATH")}}.must(t, args...)
}

// installed runs show between an install of a runtime into an engine's file and an
// uninstall, after which the file is what it was, or is not.
func installed(t *testing.T, runtime, engine, file string, show func()) {
	t.Helper()
	before, missing := os.ReadFile(file)
	args := []string{"--" + engine, "--" + engine + "-config", file}
	install := append([]string{"install", "--runtime", runtime}, args...)
	setup(t, install...)
	if again := setup(t, install...); !strings.Contains(again, "has hybrid already") {
		t.Errorf("the second time: %s", again)
	}
	show()
	setup(t, append([]string{"uninstall"}, args...)...)
	if after, err := os.ReadFile(file); (err == nil) != (missing == nil) || !bytes.Equal(before, after) {
		t.Errorf("%v, it was\n%s\nand is\n%s", err, before, after)
	}
}

// A reload is all that Docker needs.
func TestSetupDocker(t *testing.T) {
	bin, images := built(t), images(t)
	for name, r := range everyDocker {
		t.Run(name, func(t *testing.T) {
			d, dir := ground(t)
			daemon := r.daemon(t, d, dir, bin, map[string]any{"runtimes": map[string]any{}})
			p := place{engine: r.client(t, daemon, dir, "hybrid"), d: d, id: idPrefix + "setup"}
			for _, i := range images {
				p.load(t, i)
			}
			reload := func() {
				if err := unix.Kill(daemon.PID(), unix.SIGHUP); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { p.forget(p.id) })
			p.refused(t, imageHello, options{}, "hybrid")
			file := filepath.Join(dir, "daemon.json")
			installed(t, bin, "docker", file, func() {
				reload()
				fixture.Eventually(t, func() error {
					r := p.run(p.id, imageHello, options{})
					if r.code != 0 {
						p.forget(p.id)
						return fmt.Errorf("run: %+v", r)
					}
					return nil
				})
				p.runs(t, 0)
				d.Crash()
				p.ends(t, 139)
				p.remove(t, p.id)
			})
			reload()
			fixture.Eventually(t, func() error {
				r := p.run(p.id, imageHello, options{})
				p.forget(p.id)
				if r.code == 0 || !strings.Contains(strings.ToLower(r.err), "runtime") {
					return fmt.Errorf("run without it: %+v", r)
				}
				return nil
			})
			d.WantIdle(t)
		})
	}
}

// Kubernetes' side of containerd has the handler that a RuntimeClass names.
func TestCRISetup(t *testing.T) {
	bin, images := built(t), images(t)
	for name, r := range releases {
		t.Run(name, func(t *testing.T) {
			d, dir := ground(t)
			engines, network := daemons.Dir(t), daemons.NewNetwork(t)
			env := []string{
				"PATH=" + filepath.Join(engines, r.from) + ":" + engines + "/runc/usr/sbin:" + filepath.Dir(bin) + ":" + os.Getenv("PATH"),
				"HYBRID_SYSROOT=" + d.Dir,
			}
			daemon := daemons.CRI{
				Containerd: r.from + "/containerd", Version: r.config, Sandbox: "docker.io/library/" + imagePause,
			}.Start(t, dir, network, env...)
			ctr := client{args: []string{filepath.Join(engines, r.from, "ctr"), "--address", daemon.Socket, "--namespace", "k8s.io"}}
			for _, i := range images {
				load := []string{"images", "import"}
				if r.pulls {
					load = append(load, "--local")
				}
				ctr.must(t, append(load, i.archive)...)
			}
			file, containerd := filepath.Join(dir, "config.toml"), filepath.Join(engines, r.from, "containerd")
			installed(t, bin, "containerd", file, func() {
				dump := client{args: []string{containerd}}.must(t, "--config", file, "config", "dump")
				if !strings.Contains(dump, ".containerd.runtimes.hybrid]") || !strings.Contains(dump, shimRuntime) {
					t.Errorf("containerd understands\n%s", dump)
				}
				daemon.Stop(t) // systemctl restart containerd
				network.Do(t, func() { daemon = daemons.Start(t, daemon.Socket, nil, env, containerd, "--config", file) })
				k := &kubelet{T: t, d: d, dir: dir, handler: "hybrid", silent: r.from == debian.from, name: fixture.Prefix + "setup"}
				k.RuntimeServiceClient, k.images = dial(t, daemon.Socket)
				fixture.Eventually(t, func() error { return ready(k) })
				t.Cleanup(k.removePod)
				k.runPod()
				id := k.up()
				d.Crash()
				k.ended(id, 139)
				k.removePod()
				d.WantIdle(t)
			})
		})
	}
}

// Each shape of its configuration is one that containerd reads, and finds the runtime
// in: not only the parser that it was written with.
func TestSetupShapes(t *testing.T) {
	files, err := filepath.Glob("../../setup/testdata/containerd_*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]int{}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if f.Name != "after/etc/containerd/config.toml" {
				continue
			}
			text := f.Data
			if bytes.Contains(a.Comment, []byte("crlf\n")) {
				text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
			}
			config := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(config, text, 0o600); err != nil {
				t.Fatal(err)
			}
			newer := bytes.Contains(text, []byte("io.containerd.cri.v1.runtime"))
			for name, r := range releases {
				if newer && r.config < 3 {
					continue
				}
				out := client{args: []string{filepath.Join(daemons.Dir(t), r.from, "containerd")}}.try("--config", config, "config", "dump")
				disabled := bytes.Contains(text, []byte(`disabled_plugins = ["cri"]`)) // then it says nothing of its plugin
				if out.code != 0 || !strings.Contains(out.out, ".containerd.runtimes.hybrid]") && !disabled {
					t.Errorf("%s of %s: %+v", name, file, out)
				}
				read[name]++
			}
		}
	}
	for name := range releases {
		if read[name] < 4 {
			t.Errorf("%s has read %d files: the test is blind", name, read[name])
		}
	}
	t.Log(read)
}

// With another driver of cgroups the options change with it, and are taken.
func TestSetupSystemdCgroup(t *testing.T) {
	bin := built(t)
	for name, r := range releases {
		t.Run(name, func(t *testing.T) {
			plugin := "io.containerd.cri.v1.runtime"
			if r.config < 3 {
				plugin = "io.containerd.grpc.v1.cri"
			}
			file := filepath.Join(t.TempDir(), "config.toml")
			text := fmt.Sprintf("version = %d\n[plugins.%q.containerd.runtimes.runc.options]\n  SystemdCgroup = true\n", r.config, plugin)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			options := filepath.Join(filepath.Dir(file), "hybrid.toml")
			installed(t, bin, "containerd", file, func() {
				dump := client{args: []string{filepath.Join(daemons.Dir(t), r.from, "containerd")}}.must(t, "--config", file, "config", "dump")
				_, ours, _ := strings.Cut(dump, ".containerd.runtimes.hybrid.options]\n")
				ours, _, _ = strings.Cut(ours, "[")
				want := "SystemdCgroup = true"
				if r.config < 3 {
					want = fmt.Sprintf("ConfigPath = %q", options)
					if text, err := os.ReadFile(options); err != nil || string(text) != "SystemdCgroup = true\n" {
						t.Errorf("%q, %v", text, err)
					}
				}
				if strings.TrimSpace(ours) != want {
					t.Errorf("containerd understands %q, want %q", ours, want)
				}
			})
			if _, err := os.Stat(options); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", options, err)
			}
		})
	}
}

// What an import makes of the configuration is what hybrid-setup says of it: 1.x replaces
// the section of a plugin, 2.x merges it.
func TestSetupImports(t *testing.T) {
	bin := built(t)
	for name, r := range releases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, other := filepath.Join(dir, "config.toml"), filepath.Join(dir, "conf.d/other.toml")
			if err := os.Mkdir(filepath.Dir(other), 0o755); err != nil {
				t.Fatal(err)
			}
			const section = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  max_container_log_line_size = 100\n"
			if err := errors.Join(os.WriteFile(file, []byte("version = 2\nimports = [\""+dir+"/conf.d/*.toml\"]\n"), 0o600), os.WriteFile(other, []byte(section), 0o600)); err != nil {
				t.Fatal(err)
			}
			out := setup(t, "install", "--runtime", bin, "--containerd", "--containerd-config", file)
			if !strings.Contains(out, other+", which it imports, has a section of the CRI plugin: for containerd 1.x that replaces") {
				t.Errorf("install says\n%s", out)
			}
			dump := client{args: []string{filepath.Join(daemons.Dir(t), r.from, "containerd")}}.must(t, "--config", file, "config", "dump")
			if has := strings.Contains(dump, ".containerd.runtimes.hybrid]"); has != (r.config >= 3) {
				t.Errorf("hybrid is there: %t, in\n%s", has, dump)
			}
		})
	}
}

// podman knows the name from a file of its own and from one beside it.
func TestSetupPodman(t *testing.T) {
	bin, images := built(t), images(t)
	d, dir := ground(t)
	engine, ok := newPodman(t, d, dir, bin).(*podman)
	if !ok {
		t.Fatal("no podman")
	}
	command, script := engine.args[0], filepath.Join(dir, "hybrid-runtime")
	engine.args = []string{command, "--runtime", "hybrid"} // by name
	p := place{engine: engine, d: d, id: idPrefix + "setup"}
	for _, i := range images {
		if i.name == imageHello {
			client{args: []string{command}}.must(t, "load", "--input", i.archive)
		}
	}
	p.refused(t, imageHello, options{}, "hybrid")
	installed(t, script, "podman", filepath.Join(dir, "containers.conf"), func() {
		p.up(t)
		p.kill(t, p.id)
		p.ends(t, 137)
		p.remove(t, p.id)
	})

	// the usual place, which podman reads without being told: here in mounts of its own
	etc := filepath.Join(dir, "etc")
	if err := os.MkdirAll(etc+"/containers.conf.d", 0o755); err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(daemons.Dir(t), "podman")
	main := fmt.Sprintf("[engine]\nconmon_path = [%q]\n[engine.runtimes]\nother = [\"/bin/true\"]\n", from+"/usr/bin/conmon")
	if err := os.WriteFile(etc+"/containers.conf", []byte(main), 0o644); err != nil {
		t.Fatal(err)
	}
	said := func() result {
		mounts := fmt.Sprintf("mount -t tmpfs tmpfs /etc && mkdir /etc/containers && mount --bind %s /etc/containers && ", etc)
		podman := fmt.Sprintf("exec %[1]s/usr/bin/podman --root %[2]s/storage --runroot %[2]s/run --tmpdir %[2]s/tmp --storage-driver vfs --cgroup-manager cgroupfs --events-backend file", from, dir)
		return client{args: []string{"unshare", "--mount", "sh", "-c", mounts + podman + ` "$@"`, "sh", "--runtime", "hybrid"}}.try("info", "--format", "{{.Host.OCIRuntime.Path}}")
	}
	if r := said(); r.code == 0 {
		t.Errorf("without it podman says %+v", r)
	}
	installed(t, script, "podman", etc+"/containers.conf.d/hybrid.conf", func() {
		if r := said(); strings.TrimSpace(r.out) != script {
			t.Errorf("podman says %+v, want %s", r, script)
		}
	})
	d.WantIdle(t)
}
