package debian

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// module is a kernel module that says nothing but this about itself.
func module(t *testing.T, modinfo string) []byte {
	t.Helper()
	const names = "\x00.modinfo\x00.shstrtab\x00"
	header := elf.Header32{Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_ARM), Version: 1, Ehsize: 52, Shentsize: 40, Shnum: 3, Shstrndx: 2}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), 1
	header.Shoff = uint32(52 + len(modinfo) + len(names))
	var b bytes.Buffer
	for _, part := range []any{
		header, []byte(modinfo), []byte(names),
		elf.Section32{},
		elf.Section32{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 52, Size: uint32(len(modinfo))},
		elf.Section32{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint32(52 + len(modinfo)), Size: uint32(len(names))},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestInOrder(t *testing.T) {
	dir := t.TempDir()
	for name, modinfo := range map[string]string{
		"kernel/a-b.ko":      "license=GPL\x00depends=core_x,leaf\x00name=a_b\x00",
		"kernel/x/core-x.ko": "depends=leaf\x00",
		"kernel/leaf.ko":     "depends=\x00",
		"kernel/broken.ko":   "depends=gone\x00",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, module(t, modinfo), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte("kernel/y/in-side.ko\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		names []string
		want  []string
		err   string
	}{
		{[]string{"in_side", "leaf"}, []string{"leaf.ko"}, ""},
		{[]string{"a_b"}, []string{"leaf.ko", "core-x.ko", "a-b.ko"}, ""},
		{[]string{"leaf", "a-b", "core_x"}, []string{"leaf.ko", "core-x.ko", "a-b.ko"}, ""},
		{[]string{"broken"}, nil, "no kernel module gone"},
	} {
		paths, err := inOrder(t.Context(), dir, test.names)
		var got []string
		for _, p := range paths {
			got = append(got, filepath.Base(p))
		}
		if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%v: %v, %v; want %v, %q", test.names, got, err, test.want, test.err)
		}
	}
}

func TestUnsigned(t *testing.T) {
	const marker = "~Module signature appended~\n"
	signed := "module" + "signature" + "\x01\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00\x09" + marker
	for in, want := range map[string]string{
		signed:   "module",
		"module": "module",
		marker:   marker,
		"\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff" + marker: "\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff" + marker,
	} {
		if got := string(unsigned([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestApplets(t *testing.T) {
	got, err := Applets([]byte("\x7fELF..\x00[\x00[[\x00ar\x00zcat\x00\x00rest\x00"))
	if err != nil || !slices.Equal(got, []string{"[", "[[", "ar", "zcat"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Applets([]byte("not busybox")); err == nil {
		t.Error("no error for something else")
	}
}

func TestTextOffset(t *testing.T) {
	for config, want := range map[string]uint32{
		"":                                    0x8000,
		"CONFIG_ARM=y\nCONFIG_ARCH_MESON=y\n": 0x208000,
		"# CONFIG_ARCH_MESON is not set\n":    0x8000,
		"CONFIG_ARCH_MESON=y\nCONFIG_ARCH_AXXIA=y\n": 0x308000,
		"CONFIG_ARCH_REALTEK=y\n":                    0x108000,
	} {
		if got := textOffset(config); got != want {
			t.Errorf("%q: %#x, want %#x", config, got, want)
		}
	}
}

func TestUImage(t *testing.T) {
	image := uImage([]byte("kernel"), 0x40208000)
	word := func(i int) uint32 { return binary.BigEndian.Uint32(image[4*i:]) }
	if word(0) != 0x27051956 || word(3) != 6 || word(4) != 0x40208000 || word(5) != 0x40208000 || string(image[64:]) != "kernel" {
		t.Errorf("% x", image)
	}
}

func TestLookupKernel(t *testing.T) {
	for _, c := range []struct{ version, env, want, err string }{
		{"", "", "6.1", ""},
		{"6.12", "", "6.12", ""},
		{"", "6.12", "6.12", ""},
		{"6.1", "6.12", "6.1", ""},
		{"6.2", "", "", `no kernel "6.2" for the virtual board: there are 6.1 and 6.12`},
		{"", "x", "", `no kernel "x" for the virtual board: there are 6.1 and 6.12`},
	} {
		t.Setenv(KernelVariable, c.env)
		k, err := LookupKernel(c.version)
		if k.Version != c.want || err != nil && err.Error() != c.err || (err == nil) != (c.err == "") {
			t.Errorf("%q, $%s: %q, %v", c.version, c.env, k.Version, err)
		}
	}
	seen := map[string]bool{}
	for _, k := range Kernels() {
		if seen[k.layout] {
			t.Errorf("two kernels in %s", k.layout)
		}
		seen[k.layout] = true
	}
}

func TestCachedFiles(t *testing.T) {
	cache, kernel := t.TempDir(), Kernels()[1]
	for _, name := range []string{"kernel", "busybox", "modules/01-b.ko", "modules/00-a.ko"} {
		path := filepath.Join(cache, kernel.layout, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Get(t.Context(), cache, kernel, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range files.Modules {
		names = append(names, filepath.Base(m))
	}
	if !slices.Equal(names, []string{"00-a.ko", "01-b.ko"}) || filepath.Base(files.Kernel) != "kernel" {
		t.Errorf("%+v", files)
	}
}

func TestLockWaits(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while locked: %v", err)
	}
	unlock()
	again, err := lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
