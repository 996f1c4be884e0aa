package bundle

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// program is an ELF file with these program headers, and nothing else.
func program(class elf.Class, order binary.ByteOrder, machine elf.Machine, headers ...elf.ProgType) []byte {
	b := make([]byte, 64+56*len(headers))
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA] = byte(class), byte(elf.ELFDATA2LSB)
	if order == binary.BigEndian {
		b[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	order.PutUint16(b[18:], uint16(machine))
	if class == elf.ELFCLASS64 {
		order.PutUint64(b[32:], 64)
		order.PutUint16(b[54:], 56)
		order.PutUint16(b[56:], uint16(len(headers)))
	} else {
		order.PutUint32(b[28:], 64)
		order.PutUint16(b[42:], 56)
		order.PutUint16(b[44:], uint16(len(headers)))
	}
	for i, h := range headers {
		order.PutUint32(b[64+56*i:], uint32(h))
	}
	return b
}

func TestIsLinux(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	arm := func(h ...elf.ProgType) []byte { return program(elf.ELFCLASS32, le, elf.EM_ARM, h...) }
	native := program(elf.ELFCLASS64, le, hostMachine(), elf.PT_LOAD)
	own, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	for name, c := range map[string]struct {
		program     []byte
		at          string // in the root file system; /app unless said
		args        []string
		env         []string
		annotations map[string]string
		want        bool
	}{
		"script":                     {program: []byte("#!/bin/sh\n"), want: true},
		"for the host":               {program: native, want: true},
		"this test":                  {program: own, want: true},
		"dynamic":                    {program: arm(elf.PT_LOAD, elf.PT_INTERP), want: true},
		"dynamic, big endian":        {program: program(elf.ELFCLASS64, be, elf.EM_PPC64, elf.PT_INTERP), want: true},
		"static, of a core's kind":   {program: arm(elf.PT_LOAD, elf.PT_NOTE, elf.PT_TLS), want: true},
		"firmware":                   {program: arm(elf.PT_LOAD, elf.PT_LOAD)},
		"firmware with a build ID":   {program: arm(elf.PT_NOTE, elf.PT_LOAD)},
		"firmware with threads":      {program: arm(elf.PT_LOAD, elf.PT_TLS)},
		"half a program":             {program: arm(elf.PT_INTERP)[:40]},
		"headers beyond the end":     {program: arm(elf.PT_LOAD, elf.PT_INTERP)[:80]},
		"nothing":                    {program: []byte{}},
		"text":                       {program: []byte("hello")},
		"missing":                    {at: "/other", program: native},
		"in PATH":                    {at: "/opt/app", args: []string{"app"}, env: []string{"PATH=/bin:/opt"}, program: native, want: true},
		"in the usual PATH":          {at: "/usr/bin/app", args: []string{"app"}, program: native, want: true},
		"in the working folder":      {at: "/w/app", args: []string{"app"}, program: native, want: true},
		"not in PATH with a slash":   {at: "/usr/bin/app", args: []string{"./app"}, program: native},
		"of an init":                 {args: []string{"/sbin/docker-init", "--", "/app"}, program: native, want: true},
		"an init of its own":         {args: []string{"/run/podman-init", "--", "/app"}, at: "/run/podman-init", program: native},
		"firmware of an init":        {args: []string{"/run/podman-init", "--", "/app"}, program: arm(elf.PT_LOAD)},
		"says a board":               {program: native, env: []string{"HYBRID_BOARD=imx8m-mini"}},
		"says a core":                {program: native, annotations: map[string]string{"mcu": "cortex-m4"}},
		"pause of containerd":        {program: arm(elf.PT_LOAD), annotations: map[string]string{keyContainerType: "sandbox", "mcu": "cortex-m4"}, want: true},
		"pause of CRI-O":             {program: arm(elf.PT_LOAD), annotations: map[string]string{keyCRIOType: "sandbox"}, want: true},
		"another container of a pod": {program: arm(elf.PT_LOAD), annotations: map[string]string{keyContainerType: "container"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.at == "" {
				c.at = "/app"
			}
			if c.args == nil {
				c.args = []string{"/app"}
			}
			config, err := json.Marshal(object{
				"ociVersion": "1.0.2", "annotations": c.annotations, "root": object{"path": "rootfs"},
				"process": object{"args": c.args, "env": c.env, "cwd": "/w"},
			})
			if err != nil {
				t.Fatal(err)
			}
			for name, b := range map[string][]byte{"config.json": config, "rootfs" + c.at: c.program} {
				name = filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, b, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if got := IsLinux(dir); got != c.want {
				t.Errorf("it is Linux's: %v, want %v", got, c.want)
			}
		})
	}
	if IsLinux(t.TempDir()) {
		t.Error("a folder without config.json is Linux's")
	}
}

// Whatever a program holds, it is looked at without harm, and what is cut off never
// says more than the whole.
func FuzzRunsOnLinux(f *testing.F) {
	f.Add([]byte("#!"))
	f.Add(program(elf.ELFCLASS32, binary.LittleEndian, elf.EM_ARM, elf.PT_LOAD, elf.PT_INTERP))
	f.Add(program(elf.ELFCLASS64, binary.BigEndian, elf.EM_PPC64, elf.PT_NOTE, elf.PT_TLS))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !runsOnLinux(bytes.NewReader(b)) && runsOnLinux(bytes.NewReader(b[:len(b)/2])) {
			t.Error("half of it runs on Linux")
		}
	})
}
