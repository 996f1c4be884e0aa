package builder

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	fstypes "github.com/tonistiigi/fsutil/types"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/image"
)

// memoryFS is a finished build in memory. Errors are texts, as they are once they
// came over the wire.
type memoryFS struct{ fstest.MapFS }

func (m memoryFS) stat(name string) (fs.FileInfo, error) {
	info, err := m.Stat(strings.TrimPrefix(path.Clean(name), "/"))
	if err != nil {
		return nil, errors.New("rpc error: lstat " + name + ": no such file or directory")
	}
	return info, nil
}

func (m memoryFS) StatFile(_ context.Context, r gateway.StatRequest) (*fstypes.Stat, error) {
	info, err := m.stat(r.Path)
	if err != nil {
		return nil, err
	}
	return statOf(info), nil
}

func statOf(info fs.FileInfo) *fstypes.Stat {
	return &fstypes.Stat{Path: info.Name(), Mode: uint32(info.Mode()), Size: info.Size()}
}

func (m memoryFS) ReadFile(_ context.Context, r gateway.ReadRequest) ([]byte, error) {
	text, err := m.MapFS.ReadFile(strings.TrimPrefix(r.Filename, "/"))
	if err != nil || r.Range == nil {
		return text, err
	}
	text = text[min(r.Range.Offset, len(text)):]
	return text[:min(r.Range.Length, len(text))], nil
}

func (m memoryFS) ReadDir(_ context.Context, r gateway.ReadDirRequest) ([]*fstypes.Stat, error) {
	name := strings.TrimPrefix(r.Path, "/")
	if name == "" {
		name = "."
	}
	entries, err := m.MapFS.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var stats []*fstypes.Stat
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		stats = append(stats, statOf(info))
	}
	return stats, nil
}

// elfFile is firmware for a machine with one segment at addr, without a resource table.
func elfFile(machine elf.Machine, addr uint32, segments uint16) []byte {
	h := elf.Header32{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1,
		Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: segments, Shentsize: 40,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), 1
	size := uint32(4)
	if segments == 0 {
		h.Phnum, size = 1, 0 // a program header that loads nothing
	}
	var b bytes.Buffer
	for _, v := range []any{h, elf.Prog32{Type: uint32(elf.PT_LOAD), Off: 84, Paddr: addr, Filesz: size, Memsz: size}, uint32(0)} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func TestVerify(t *testing.T) {
	qemu, err := board.Lookup("qemu-virt")
	if err != nil {
		t.Fatal(err)
	}
	const ram = 0x60000000
	good := elfFile(elf.EM_ARM, ram, 1)
	layer := v1.History{CreatedBy: "COPY /a.elf / # buildkit"}
	huge := bytes.Repeat([]byte{0}, maxFirmware+1)
	for _, c := range []struct {
		name     string
		files    map[string][]byte
		entry    []string
		workdir  string
		history  []v1.History
		warnings []string
		err      string
	}{
		{
			name: "good, but for the resource table", files: map[string][]byte{"a.elf": good},
			warnings: []string{"firmware /a.elf: no resource table"},
		},
		{
			name: "in a folder", files: map[string][]byte{"fw/a.elf": good}, workdir: "/fw",
			warnings: []string{"firmware /fw/a.elf: no resource table"},
		},
		{
			name: "more files", files: map[string][]byte{"a.elf": good, "doc/LICENSE": nil, "doc/b": nil},
			warnings: []string{"no resource table", "Dockerfile: beside the firmware the image holds /doc/LICENSE, /doc/b"},
		},
		{name: "no entrypoint", files: map[string][]byte{"a.elf": good}, entry: []string{}, err: `Dockerfile: the image has no ENTRYPOINT, so nothing says which file is the firmware; end it with ENTRYPOINT ["NAME.elf"]`},
		{name: "missing", files: map[string][]byte{"b.elf": good}, err: "Dockerfile:3: ENTRYPOINT /a.elf is not in the image, which holds /b.elf"},
		{name: "folder", files: map[string][]byte{"a.elf/x": good}, err: "Dockerfile:3: firmware /a.elf: is a folder"},
		{name: "huge", files: map[string][]byte{"a.elf": huge}, err: "more than 67108864 is not firmware"},
		{name: "script", files: map[string][]byte{"a.elf": []byte("#!/bin/sh\n")}, err: "Dockerfile:3: firmware /a.elf: not an ELF file"},
		{name: "machine", files: map[string][]byte{"a.elf": elfFile(elf.EM_X86_64, ram, 1)}, err: "firmware /a.elf: wrong machine for cortex-m4"},
		{name: "address", files: map[string][]byte{"a.elf": elfFile(elf.EM_ARM, 0x1ffe0000, 1)}, err: "outside of the memory of cortex-m4"},
		{name: "no segment", files: map[string][]byte{"a.elf": elfFile(elf.EM_ARM, ram, 0)}, err: "no loadable segment"},
		{
			name: "two layers", files: map[string][]byte{"a.elf": good}, history: []v1.History{layer, {CreatedBy: "LABEL x", EmptyLayer: true}, {CreatedBy: "COPY b /"}},
			err: "Dockerfile: the image has 2 layers, firmware goes into one: end with FROM scratch and a single COPY (COPY /a.elf /; COPY b /)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := memoryFS{fstest.MapFS{}}
			for name, text := range c.files {
				root.MapFS[name] = &fstest.MapFile{Data: text}
			}
			img := &dockerspec.DockerOCIImage{}
			img.History = c.history
			if img.History == nil {
				img.History = []v1.History{layer}
			}
			img.Config.Entrypoint, img.Config.WorkingDir = c.entry, c.workdir
			if c.entry == nil {
				img.Config.Entrypoint = []string{"a.elf"}
			}
			v := &verification{
				root: root, config: img, core: &qemu.Cores[0],
				dockerfile: &dockerfile{name: "Dockerfile", text: []byte("FROM scratch\nCOPY a.elf /\nENTRYPOINT [\"a.elf\"]\n")},
			}
			warnings, err := v.verify(t.Context())
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) != len(c.warnings) {
				t.Fatalf("warnings %q, want %q", warnings, c.warnings)
			}
			for i, w := range c.warnings {
				if !strings.Contains(warnings[i], w) {
					t.Errorf("warning %q, want %q", warnings[i], w)
				}
			}
		})
	}
}

func TestVerifyNoEntrypointKeepsItsType(t *testing.T) {
	v := &verification{config: &dockerspec.DockerOCIImage{}, dockerfile: &dockerfile{name: "D"}}
	if _, err := v.verify(t.Context()); !errors.Is(err, image.ErrNoEntrypoint) {
		t.Errorf("%v is not ErrNoEntrypoint", err)
	}
}

func TestReadInChunks(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), chunk/4)
	got, err := readFile(t.Context(), memoryFS{fstest.MapFS{"big": {Data: text}}}, "/big")
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes of %d, error %v", len(got), len(text), err)
	}
}

func TestLayers(t *testing.T) {
	img := &dockerspec.DockerOCIImage{}
	img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, "sha256:a", "sha256:b", "sha256:c")
	if n, _ := layers(img); n != 3 {
		t.Errorf("%d layers of a base image without history", n)
	}
}

func TestOnlyProgram(t *testing.T) {
	for want, files := range map[string][]string{
		"blink.elf": {"blink.elf"},
		"the project builds 2 programs: /a.elf, /b.elf; choose one with --build-arg NAME=a": {"a.elf", "b.elf"},
	} {
		root := memoryFS{fstest.MapFS{}}
		for _, f := range files {
			root.MapFS[f] = &fstest.MapFile{}
		}
		got, err := onlyProgram(t.Context(), root)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestListIsBounded(t *testing.T) {
	root := memoryFS{fstest.MapFS{}}
	for i := range 1000 {
		root.MapFS[fmt.Sprintf("d%d/f", i)] = &fstest.MapFile{}
	}
	files, err := list(t.Context(), root)
	if err != nil || len(files) != maxListed {
		t.Errorf("%d files, error %v", len(files), err)
	}
	if got := enumerate(files); !strings.HasSuffix(got, "and 60 more") {
		t.Errorf("enumerated as %q", got)
	}
}
