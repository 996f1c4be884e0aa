package bundle

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"path/filepath"
	goruntime "runtime"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/image"
)

// ErrLinux reports a bundle that is a Linux container, for a runtime of such.
var ErrLinux = errors.New("this is a Linux container, not firmware")

// Annotations by which a container of Kubernetes says that it is the one that only
// keeps its pod's namespaces: containerd's and CRI-O's.
const (
	keyContainerType = "io.kubernetes.cri.container-type"
	keyCRIOType      = "io.kubernetes.cri-o.ContainerType"
	typeSandbox      = "sandbox"
)

// IsLinux reports whether a bundle is a Linux container. One that cannot be read is
// not, so that the error is ours to tell.
func IsLinux(dir string) bool {
	spec, err := readConfig(filepath.Join(dir, "config.json"))
	return err == nil && isLinux(dir, spec)
}

// isLinux: the pause container of a pod is one, whatever the pod says of a board. Of
// others, those that say nothing of a board or a core, and whose program Linux runs.
func isLinux(dir string, spec *specs.Spec) bool {
	if spec.Annotations[keyContainerType] == typeSandbox || spec.Annotations[keyCRIOType] == typeSandbox {
		return true
	}
	if spec.Process == nil || len(spec.Process.Args) == 0 || spec.Root == nil {
		return false
	}
	target := image.TargetOf(spec.Annotations).Or(image.TargetOfEnv(spec.Process.Env))
	if target.Board != "" || target.MCU != "" {
		return false
	}
	name := args(spec.Process)[0]
	if programs, err := image.ProgramsOfEnv(spec.Process.Env, target, name); err != nil || len(programs) != 1 {
		return false // packed
	}
	root := spec.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(dir, root)
	}
	for _, candidate := range candidates(name, spec.Process) {
		f, err := openIn(root, candidate)
		if err != nil {
			continue
		}
		defer f.Close()
		return runsOnLinux(f)
	}
	return false
}

// candidates are where a program may be: where firmware is looked for, and in PATH.
func candidates(name string, p *specs.Process) []string {
	if path.IsAbs(name) {
		return []string{name}
	}
	found := []string{path.Join("/", p.Cwd, name)}
	if strings.Contains(name, "/") {
		return found
	}
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range p.Env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			search = value
		}
	}
	for dir := range strings.SplitSeq(search, ":") {
		found = append(found, path.Join("/", dir, name))
	}
	return found
}

// machines are those of the Linux on which this program runs, and of no remote
// processor.
func hostMachine() elf.Machine {
	switch goruntime.GOARCH {
	case "amd64":
		return elf.EM_X86_64
	case "386":
		return elf.EM_386
	case "arm64":
		return elf.EM_AARCH64
	}
	return elf.EM_NONE
}

// runsOnLinux reports whether a program is one of Linux: a script, an ELF file for the
// host, or one that wants an interpreter. Where host and core have the same
// instructions, a static one has both thread-local storage and notes.
func runsOnLinux(f io.ReaderAt) bool {
	head := make([]byte, 64)
	n, _ := f.ReadAt(head, 0)
	switch {
	case n >= 2 && string(head[:2]) == "#!":
		return true
	case n < len(head) || string(head[:4]) != elf.ELFMAG:
		return false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	if machine := elf.Machine(order.Uint16(head[18:])); machine == hostMachine() && machine != elf.EM_NONE {
		return true
	}
	at, size, count := int64(order.Uint32(head[28:])), order.Uint16(head[42:]), order.Uint16(head[44:])
	if elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64 {
		at, size, count = int64(order.Uint64(head[32:])), order.Uint16(head[54:]), order.Uint16(head[56:])
	}
	kind := make([]byte, 4)
	var notes, storage bool
	for range min(count, 64) {
		if n, _ := f.ReadAt(kind, at); n < len(kind) {
			return false
		}
		switch elf.ProgType(order.Uint32(kind)) {
		case elf.PT_INTERP:
			return true
		case elf.PT_NOTE:
			notes = true
		case elf.PT_TLS:
			storage = true
		}
		at += int64(size)
	}
	return notes && storage
}
