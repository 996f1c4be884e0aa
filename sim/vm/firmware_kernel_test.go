//go:build kernel

package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/firmware"
	"github.com/hybrid-containers/hybrid/firmware/check"
)

const sdk = "../../sdk/baremetal"

// makeFirmware builds hello_world and returns it, or what make says.
func makeFirmware(t *testing.T, args ...string) (elf []byte, errors string) {
	t.Helper()
	dir := t.TempDir()
	var stderr bytes.Buffer
	cmd := exec.Command("make", append([]string{"-s", "-C", "../../examples/hello_world", "O=" + dir}, args...)...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, stderr.String()
	}
	elf, err := os.ReadFile(filepath.Join(dir, "hello_world.elf"))
	if err != nil {
		t.Fatal(err)
	}
	return elf, stderr.String()
}

// copySDK copies the SDK, after which edit may change its files.
func copySDK(t *testing.T, edit map[string]*strings.Replacer) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sdk")
	if err := os.CopyFS(dir, os.DirFS(sdk)); err != nil {
		t.Fatal(err)
	}
	for name, r := range edit {
		name = filepath.Join(dir, name)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(r.Replace(string(b))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestFirmwareFits builds for each board of the SDK and asks what hybrid asks.
func TestFirmwareFits(t *testing.T) {
	for name, vectors := range map[string]uint64{"imx8m-mini": 0x1FFE0000, "qemu-virt": 0x60000000} {
		elf, errors := makeFirmware(t, "BOARD="+name, "MCU=cortex-m4")
		if errors != "" {
			t.Fatalf("%s: make says %s", name, errors)
		}
		f, err := firmware.Parse(bytes.NewReader(elf), int64(len(elf)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := board.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		core, err := b.Core("cortex-m4")
		if err != nil {
			t.Fatal(err)
		}
		findings, err := check.Firmware(f, bytes.NewReader(elf), int64(len(elf)), *core)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, finding := range findings {
			t.Errorf("%s: %s", name, finding)
		}
		if traces := f.Table.Traces(); len(traces) != 1 || traces[0].Len != 8192 {
			t.Errorf("%s: traces %+v", name, traces)
		}
		if f.Segments[0].Addr != vectors {
			t.Errorf("%s: vectors are at %#x", name, f.Segments[0].Addr)
		}
		again, _ := makeFirmware(t, "BOARD="+name, "SDK="+copySDK(t, nil))
		if !bytes.Equal(elf, again) {
			t.Errorf("%s: another folder gives another file", name)
		}
	}
}

func TestUnknownTarget(t *testing.T) {
	for arg, want := range map[string]string{
		"BOARD=x": `unknown BOARD "x", the bare-metal SDK has: imx8m-mini qemu-virt.`,
		"MCU=x":   `board imx8m-mini has no MCU "x", it has: cortex-m4.`,
	} {
		if _, errors := makeFirmware(t, arg); !strings.Contains(errors, want) || strings.Count(errors, "\n") != 1 {
			t.Errorf("%s: %q", arg, errors)
		}
	}
}

// TestWithoutPeripherals runs firmware for the i.MX8M Mini where nothing of that
// chip but memory is there: it must do without its UART.
func TestWithoutPeripherals(t *testing.T) {
	elf, errors := makeFirmware(t, "BOARD=imx8m-mini", "SDK="+copySDK(t, map[string]*strings.Replacer{
		"boards/imx8m-mini/link.ld": strings.NewReplacer("0x1FFE0000", "0x60000000", "0x20000000", "0x60080000"),
	}))
	if errors != "" {
		t.Fatal(errors)
	}
	v := start(t, config(t))
	load := v.Command(t.Context(), "sh", "-c", "cat > /lib/firmware/imx.elf; cd /sys/class/remoteproc/remoteproc0; echo imx.elf > firmware; echo start > state")
	load.Stdin = bytes.NewReader(elf)
	must(t, load.Run())
	eventually(t, "no hello", func() bool {
		return sh(t, v, trace) == "Hello World from imx8m-mini (cortex-m4)\n\x03"
	})
}
