package vm

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/sim/vm/debian"
)

func TestDeviceTreeSource(t *testing.T) {
	source, err := deviceTreeSource(2, []byte{0xab, 0x01})
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	b, err := board.Lookup("qemu-virt")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		// by these hybrid knows the board and its core
		`compatible = "` + b.Compatible[0] + `", "linux,dummy-virt";`,
		`model = "` + b.Model + `";`,
		`compatible = "` + b.Cores[0].Compatible + `";`,
		"rng-seed = [ab 01];",
		"virtio_mmio@a000000 {", "interrupts = <0 16 1>;",
		"virtio_mmio@a000200 {", "reg = <0 0xa000200 0 0x200>;", "interrupts = <0 17 1>;",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the device tree", want)
		}
	}
	if n := strings.Count(text, "virtio,mmio"); n != 2 {
		t.Errorf("%d virtio devices, want 2", n)
	}
	if strings.Count(text, "{") != strings.Count(text, "}") {
		t.Error("braces do not match")
	}
}

func TestArguments(t *testing.T) {
	args := arguments([]Share{{Host: "/a,b", Guest: "/a", ReadOnly: true}, {Host: "/c", Guest: "/c"}}, "/k,1", false)
	for _, want := range []string{
		"/k,,1",
		"local,id=share0,path=/a,,b,security_model=none,multidevs=remap,readonly=on",
		"virtio-9p-device,bus=virtio-mmio-bus.1,fsdev=share0,mount_tag=share0",
		"local,id=share1,path=/c,security_model=none,multidevs=remap",
		"virtio-9p-device,bus=virtio-mmio-bus.2,fsdev=share1,mount_tag=share1",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("no %q in %q", want, args)
		}
	}
}

func TestInitramfs(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	files := &debian.Files{Busybox: file("busybox", "elf\x00[\x00[[\x00busybox\x00cat\x00\x00"), Modules: []string{file("00-a.ko", "module a")}}
	archive, err := initramfs(files, file("guest", "the init"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"init\x00", "the init", "bin/busybox\x00", "bin/cat\x00", "lib/modules/00-a.ko\x00", "module a", "dev/console\x00"} {
		if !bytes.Contains(archive, []byte(want)) {
			t.Errorf("no %q in the archive", want)
		}
	}
	if n := bytes.Count(archive, []byte("bin/busybox\x00")); n != 1 { // no link in its place
		t.Errorf("bin/busybox is there %d times", n)
	}
	if _, err := initramfs(files, filepath.Join(dir, "missing")); !os.IsNotExist(err) {
		t.Errorf("without init: %v", err)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := resolve([]Share{{Host: dir}, {Host: dir + "/.", Guest: "/mnt/", ReadOnly: true}, {Host: dir, Guest: "/c", Constant: true}})
	if want := []Share{{Host: dir, Guest: dir}, {Host: dir, Guest: "/mnt", ReadOnly: true}, {Host: dir, Guest: "/c", ReadOnly: true, Constant: true}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for name, shares := range map[string][]Share{
		"no such file":    {{Host: filepath.Join(dir, "no")}},
		"is not a folder": {{Host: file}},
		"no place for it": {{Host: dir, Guest: "relative"}},
		"below /":         {{Host: dir, Guest: "/x/.."}},
		"at most 31":      make([]Share, 32),
	} {
		if _, err := resolve(shares); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGuestInitMissing(t *testing.T) {
	for _, name := range []string{"", "/no/such/init"} {
		if _, err := guestInit(name); err == nil || !strings.Contains(err.Error(), "(make build)") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestConsole(t *testing.T) {
	var b bytes.Buffer
	c := &console{to: &b}
	for range 2000 {
		_, _ = c.Write([]byte("line\r\n"))
	}
	if b.Len() != 12000 || c.tail() != "line; line; line; line" || len(c.last) > 8192 {
		t.Errorf("%d bytes passed on, tail %q", b.Len(), c.tail())
	}
	_, _ = c.Write([]byte("[1.0] Kernel panic: no init\r\nregisters\r\n"))
	if got := c.tail(); got != "[1.0] Kernel panic: no init" {
		t.Errorf("%q", got)
	}
}
