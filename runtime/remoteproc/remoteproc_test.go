package remoteproc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// host lays out the files of processors, which is all that listing them needs.
// What the kernel does with them is tested against the kernel.
func host(t *testing.T, files map[string]string) Host {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Host{root}
}

func TestProcessors(t *testing.T) {
	h := host(t, map[string]string{
		"sys/class/remoteproc/remoteproc10/name":                      "b\n",
		"sys/class/remoteproc/remoteproc2/name":                       "imx-rproc\n",
		"sys/class/remoteproc/remoteproc2/state":                      "offline\n",
		"sys/class/remoteproc/remoteproc2/recovery":                   "enabled\n",
		"sys/class/remoteproc/remoteproc2/device/of_node/compatible":  "fsl,imx8mm-cm4\x00fsl,imx\x00",
		"sys/class/remoteproc/remoteproc2/device/of_node/name":        "imx8mm-cm4\x00",
		"sys/class/remoteproc/remoteproc3-unbound/of_node/compatible": "x",
	})
	ps, err := h.Processors()
	if err != nil || len(ps) != 2 || ps[0].Instance != "remoteproc2" || ps[1].Instance != "remoteproc10" {
		t.Fatalf("processors %v, %v", ps, err)
	}
	p := ps[0]
	if !slices.Equal(p.Compatible, []string{"fsl,imx8mm-cm4", "fsl,imx"}) || p.Node != "imx8mm-cm4" {
		t.Errorf("node %q, compatible %q", p.Node, p.Compatible)
	}
	for _, name := range []string{"remoteproc2", "imx-rproc", "imx8mm-cm4"} {
		if !p.Is(name) {
			t.Errorf("%s is not %s", p, name)
		}
	}
	if p.Is("") || p.Is("remoteproc1") || p.String() != "remoteproc2 (imx-rproc)" {
		t.Errorf("names of %s", p)
	}
	if s, err := p.State(); s != Offline || s.Up() || err != nil {
		t.Errorf("state %q, %v", s, err)
	}
	if on, err := p.Recovery(); !on || err != nil {
		t.Errorf("recovery %v, %v", on, err)
	}
	if err := p.SetCoredump("enabled"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an attribute that is not there was created or hidden: %v", err)
	} else if want := `write "enabled" to coredump of remoteproc2: no such file or directory`; err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}
	for _, bad := range []string{"", "..", "../remoteproc2", "remoteproc1"} {
		if _, err := h.Processor(bad); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Processor(%q): %v", bad, err)
		}
	}
	if _, err := (Host{t.TempDir()}).Processors(); !errors.Is(err, ErrNoProcessors) {
		t.Errorf("no class: %v", err)
	}
}

func TestFirmwareFolder(t *testing.T) {
	h := host(t, nil)
	if dir, err := h.FirmwareFolder(); dir != filepath.Join(h.Root, "lib/firmware") || err != nil {
		t.Errorf("default %s, %v", dir, err)
	}
	for content, want := range map[string]string{"\n": "lib/firmware", "/opt/fw\n": "opt/fw", "/opt/fw\n\n": "opt/fw\n"} {
		h := host(t, map[string]string{"sys/module/firmware_class/parameters/path": content})
		if dir, err := h.FirmwareFolder(); dir != filepath.Join(h.Root, want) || err != nil {
			t.Errorf("with %q: %s, %v, want %s", content, dir, err, want)
		}
	}
}

func TestParseRecord(t *testing.T) {
	for _, c := range []struct{ record, text, device string }{
		{
			"6,1234,5678901,-;remoteproc remoteproc0: crash detected in m4: type watchdog\n SUBSYSTEM=remoteproc\n DEVICE=+remoteproc:remoteproc0\n",
			"remoteproc remoteproc0: crash detected in m4: type watchdog", "+remoteproc:remoteproc0",
		},
		{"6,1,2,-;no properties; but a semicolon\n", "no properties; but a semicolon", ""},
		{"garbage", "", ""},
		{"", "", ""},
	} {
		if text, device := parseRecord([]byte(c.record)); text != c.text || device != c.device {
			t.Errorf("%q is %q of %q", c.record, text, device)
		}
	}
}

func TestLog(t *testing.T) {
	h := host(t, map[string]string{"sys/class/remoteproc/remoteproc0/name": "m4\n", "dev/x": ""})
	p, err := h.Processor("remoteproc0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Log(p); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no kmsg: %v", err)
	}
	kmsg := filepath.Join(h.Root, "dev/kmsg")
	if err := unix.Mkfifo(kmsg, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Log(p); !errors.Is(err, unix.ESPIPE) {
		t.Errorf("a log that cannot be wound forward: %v", err)
	}
}

func TestDevice(t *testing.T) {
	if setShutdownOnRelease != 0x4004b701 { // as a C compiler gives it for the kernel's header
		t.Errorf("request %#x", setShutdownOnRelease)
	}
	h := host(t, map[string]string{"sys/class/remoteproc/remoteproc0/name": "m4\n"})
	p, err := h.Processor("remoteproc0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Device(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no character device: %v", err)
	}
}
