package doctor

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/runtime/process"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
	"github.com/hybrid-containers/hybrid/setup"
)

// kernelConfig is that of a kernel with all that is wanted.
const kernelConfig = "# Linux\nCONFIG_REMOTEPROC=y\nCONFIG_REMOTEPROC_CDEV=y\nCONFIG_IMX_REMOTEPROC=m\nCONFIG_RPMSG_TTY=m\n"

// healthy are the files of a folder with the files of a healthy i.MX8M Mini, and an image with our
// programs and Docker.
func healthy(t *testing.T) map[string]string {
	t.Helper()
	const rproc = "sys/class/remoteproc/remoteproc0/"
	return map[string]string{
		"sys/firmware/devicetree/base/compatible": "fsl,imx8mm-evk\x00fsl,imx8mm\x00",
		rproc + "name": "imx-rproc\n", rproc + "state": "offline\n",
		rproc + "device/of_node/compatible":            "fsl,imx8mm-cm4\x00",
		"sys/kernel/debug/remoteproc/remoteproc0/name": "imx-rproc\n",
		"sys/module/firmware_class/parameters/path":    "\n",
		"lib/firmware/.keep":                           "",
		"dev/kmsg":                                     "",
		"proc/sys/kernel/osrelease":                    "6.12.0\n",
		"boot/config-6.12.0":                           kernelConfig,
		"usr/local/bin/hybrid-runtime":                 "#!/bin/sh\n",
		"usr/local/bin/" + setup.ShimName:              "#!/bin/sh\n",
		"usr/bin/dockerd":                              "#!/bin/sh\n",
		"etc/docker/daemon.json":                       `{"runtimes": {"hybrid": {"path": "/usr/local/bin/hybrid-runtime"}}}`,
		"run/hybrid/processors/claims.lock":            "",
		"run/hybrid/processors/remoteproc0.lock":       "",
	}
}

func examine(t *testing.T, files map[string]string) (*Report, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := Doctor{Host: remoteproc.Host{Root: dir}, Setup: setup.Options{Machine: setup.Machine{Root: dir}}, Version: "v1"}
	return d.Examine(context.Background()), dir
}

func (r *Report) find(check, subject string) []Finding {
	var all []Finding
	for _, f := range r.Findings {
		if f.Check == check && f.Subject == subject {
			all = append(all, f)
		}
	}
	return all
}

func TestHealthy(t *testing.T) {
	r, _ := examine(t, healthy(t))
	for _, f := range r.Findings {
		if f.Status != OK || f.Remedy != "" || f.Message == "" {
			t.Errorf("%+v", f)
		}
	}
	if r.Status != OK || r.Version != "v1" || len(r.Findings) < 11 {
		t.Errorf("%+v", r)
	}
}

// Each thing that is wrong is found, and is all that is.
func TestFindings(t *testing.T) {
	const state = "sys/class/remoteproc/remoteproc0/state"
	const record = "run/hybrid/processors/remoteproc0.json"
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write([]byte(strings.ReplaceAll(kernelConfig, "CONFIG_RPMSG_TTY=m", "# CONFIG_RPMSG_TTY is not set"))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change map[string]string // files; "-" is none
		want   Finding           // Message and Remedy are parts of it
	}{
		"unknown board":     {map[string]string{"sys/firmware/devicetree/base/compatible": "acme,x\x00"}, Finding{"board", "", Warning, "acme,x is not in the catalogue", "/etc/hybrid/boards.d"}},
		"no device tree":    {map[string]string{"sys/firmware/devicetree/base/compatible": "-"}, Finding{"board", "", Error, "no device tree", "boot with"}},
		"bad addition":      {map[string]string{"etc/hybrid/boards.d/x.yaml": "nonsense: 1\n"}, Finding{"board", "", Warning, "boards.d/x.yaml:1: unknown key", "correct"}},
		"no terminals":      {map[string]string{"proc/config.gz": zipped.String()}, Finding{"kernel", "CONFIG_RPMSG_TTY", Warning, "no terminals", "CONFIG_RPMSG_TTY=y"}},
		"no device":         {map[string]string{"boot/config-6.12.0": strings.ReplaceAll(kernelConfig, "CONFIG_REMOTEPROC_CDEV=y\n", "")}, Finding{"kernel", "CONFIG_REMOTEPROC_CDEV", Warning, "runs on until the next command", "CONFIG_REMOTEPROC_CDEV=y"}},
		"unknown kernel":    {map[string]string{"boot/config-6.12.0": "-"}, Finding{"kernel", "", Warning, "neither /proc/config.gz nor /boot/config-6.12.0 is there", "modprobe configs"}},
		"broken config":     {map[string]string{"proc/config.gz": "no gzip"}, Finding{"kernel", "", Warning, "unexpected EOF", "modprobe configs"}},
		"no debugfs":        {map[string]string{"sys/kernel/debug/remoteproc/remoteproc0/name": "-"}, Finding{"debugfs", "", Warning, "not mounted", "mount -t debugfs"}},
		"no kmsg":           {map[string]string{"dev/kmsg": "-"}, Finding{"kmsg", "", Warning, "no such file", "CAP_SYSLOG"}},
		"crashed":           {map[string]string{state: "crashed\n"}, Finding{"processor", "remoteproc0", Warning, "crashed: no container started it", "echo stop > /sys/class/remoteproc/remoteproc0/state"}},
		"left behind":       {map[string]string{state: "running\n", record: `{"id": "web", "root": "/run/x", "monitor": {"pid": 1, "start": 1}}`}, Finding{"claims", "remoteproc0", Warning, "left behind by container web", "hybrid-runtime --root /run/x list"}},
		"broken record":     {map[string]string{record: "{"}, Finding{"claims", "", Warning, "unexpected end of JSON", "root"}},
		"no runtime":        {map[string]string{"usr/local/bin/hybrid-runtime": "-", "etc/docker/daemon.json": "-", "usr/bin/dockerd": "-"}, Finding{"runtime", "", Error, "neither beside hybrid-setup nor in PATH", "copy hybrid-runtime"}},
		"no shim":           {map[string]string{"usr/local/bin/" + setup.ShimName: "-"}, Finding{"shim", "", Warning, "not where containerd looks", "copy hybrid-runtime"}},
		"Docker not told":   {map[string]string{"etc/docker/daemon.json": "{}"}, Finding{"engine", "docker", Warning, "says nothing of hybrid", " --docker"}},
		"Docker told wrong": {map[string]string{"etc/docker/daemon.json": `{"runtimes": {"hybrid": {"path": "/x"}}}`}, Finding{"engine", "docker", Error, "/x: no such file", " --docker --force"}},
		"Docker told else":  {map[string]string{"etc/docker/daemon.json": `{"runtimes": {"hybrid": {}}}`}, Finding{"engine", "docker", Error, "something else", " --docker --force"}},
		"Docker unreadable": {map[string]string{"etc/docker/daemon.json": "{"}, Finding{"engine", "docker", Error, "line 1: ", "correct the file"}},
		"containerd too":    {map[string]string{"usr/bin/containerd": "#!/bin/sh\n"}, Finding{"engine", "containerd", Warning, "config.toml says nothing", " --containerd"}},
		"containerd's import": {map[string]string{
			"usr/bin/containerd":             "#!/bin/sh\n",
			"etc/containerd/config.toml":     "version = 2\nimports = ['conf.d/*.toml']\n[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.hybrid]\nruntime_type = 'io.containerd.hybrid.v1'\n",
			"etc/containerd/conf.d/gpu.toml": "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'x'\n",
		}, Finding{"engine", "containerd", Warning, "conf.d/gpu.toml, which is imported, replaces all of the CRI plugin", "add hybrid to /etc/containerd/conf.d/gpu.toml"}},
		"containerd's import, broken": {map[string]string{
			"usr/bin/containerd":           "#!/bin/sh\n",
			"etc/containerd/config.toml":   "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n",
			"etc/containerd/conf.d/x.toml": "x = \n",
		}, Finding{"engine", "containerd", Error, "config.toml imports /etc/containerd/conf.d/x.toml: line 1: ", "correct the file"}},
		"podman, no program": {map[string]string{"usr/bin/podman": "#!/bin/sh\n", "etc/containers/containers.conf.d/hybrid.conf": "[engine.runtimes]\nhybrid = ['/y', '/z']\n"}, Finding{"engine", "podman", Error, "/y: no such file", " --podman --force"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := healthy(t)
			for name, text := range c.change {
				files[name] = text
				if text == "-" {
					delete(files, name)
				}
			}
			r, _ := examine(t, files)
			var found bool
			for _, f := range r.Findings {
				switch {
				case f.Check == c.want.Check && f.Subject == c.want.Subject && f.Status == c.want.Status &&
					strings.Contains(f.Message, c.want.Message) && strings.Contains(f.Remedy, c.want.Remedy):
					found = true
				case f.Status != OK:
					t.Errorf("also %+v", f)
				}
			}
			if !found || r.Status != c.want.Status {
				t.Errorf("%s, want %+v in %+v", r.Status, c.want, r.Findings)
			}
		})
	}
}

// What a file says that is imported counts, as what the configuration itself says.
func TestImported(t *testing.T) {
	files := healthy(t)
	files["usr/bin/containerd"] = "#!/bin/sh\n"
	files["etc/containerd/config.toml"] = "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n"
	files["etc/containerd/conf.d/hybrid.toml"] = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.hybrid]\nruntime_type = 'io.containerd.hybrid.v1'\n"
	r, _ := examine(t, files)
	f := r.find("engine", "containerd")
	if len(f) != 1 || f[0].Status != OK || f[0].Message != "containerd: hybrid is in /etc/containerd/conf.d/hybrid.toml" {
		t.Errorf("%+v", f)
	}
}

// A claim whose monitor lives, or whose lock is held, is no leftover.
func TestHeld(t *testing.T) {
	self, err := process.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, monitor := range map[string]string{
		"by a monitor": fmt.Sprintf(`{"pid": %d, "start": %d}`, self.PID, self.Start),
		"by a lock":    `{"pid": 0, "start": 0}`,
	} {
		t.Run(name, func(t *testing.T) {
			files := healthy(t)
			files["sys/class/remoteproc/remoteproc0/state"] = "running\n"
			files["run/hybrid/processors/remoteproc0.json"] = `{"id": "web", "root": "/run/x", "monitor": ` + monitor + `}`
			d, dir := examine(t, files)
			if name == "by a lock" {
				if n := len(d.find("claims", "remoteproc0")); n != 1 {
					t.Fatalf("nobody holds the lock, and there are %d findings: %+v", n, d.Findings)
				}
				f, err := os.Open(filepath.Join(dir, "run/hybrid/processors/remoteproc0.lock"))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
					t.Fatal(err)
				}
				x := Doctor{Host: remoteproc.Host{Root: dir}, Setup: setup.Options{Machine: setup.Machine{Root: dir}}}
				d = x.Examine(context.Background())
			}
			p := d.find("processor", "remoteproc0")
			if len(p) != 1 || p[0].Message != "imx-rproc, cortex-m4, running: container web in /run/x has it" || d.Status != OK {
				t.Errorf("%+v", d.Findings)
			}
		})
	}
}

// Without processors it matters whether the kernel could have any.
func TestNoProcessors(t *testing.T) {
	files := healthy(t)
	for name := range files {
		if strings.HasPrefix(name, "sys/class/") {
			delete(files, name)
		}
	}
	files["boot/config-6.12.0"] = "CONFIG_REMOTEPROC_CDEV=y\nCONFIG_RPMSG_TTY=y\n"
	r, _ := examine(t, files)
	for _, subject := range []string{"CONFIG_REMOTEPROC", "CONFIG_IMX_REMOTEPROC"} {
		if f := r.find("kernel", subject); len(f) != 1 || f[0].Status != Error {
			t.Errorf("%s: %+v", subject, f)
		}
	}
	if f := r.find("sysfs", ""); len(f) != 1 || f[0].Status != Error {
		t.Errorf("%+v", f)
	}
}

// The remedy is for the file and the machine that were looked at, not for ours.
func TestRemedyNamesWhatWasAsked(t *testing.T) {
	files := healthy(t)
	files["etc/mine.json"] = "{}"
	_, dir := examine(t, files)
	for _, c := range []struct {
		configs map[string]string
		file    string
		want    string
	}{
		{nil, "etc/docker/daemon.json", "hybrid-setup install --root " + dir + " --docker"},
		{map[string]string{setup.Docker: "/etc/mine.json"}, "etc/mine.json", "hybrid-setup install --root " + dir + " --docker-config /etc/mine.json"},
	} {
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
		d := Doctor{Host: remoteproc.Host{Root: dir}, Setup: setup.Options{Machine: setup.Machine{Root: dir}, Configs: c.configs}}
		f := d.Examine(context.Background()).find("engine", "docker")
		if len(f) != 1 || f[0].Remedy != c.want {
			t.Errorf("%+v, want %s", f, c.want)
		}
	}
}
