// Package inspect tells what an image, or an ELF file, is: for which core, what is
// loaded where, what it asks of Linux, and what the checks find. Gathering (Open) and
// rendering (Report.Text, Changes) are apart; the JSON form of a Report is stable.
package inspect

import (
	"fmt"

	"github.com/hybrid-containers/hybrid/firmware"
)

// Report is what was found behind a name.
type Report struct {
	Source string `json:"source"` // as it was named
	Kind   Kind   `json:"kind"`
	// Images has one entry for each manifest; a bare ELF file has none.
	Images []Image `json:"images,omitempty"`
	// Firmware is that of a bare ELF file.
	Firmware *Firmware `json:"firmware,omitempty"`
}

// Kind says where a report comes from.
type Kind string

// The kinds.
const (
	KindELF        Kind = "elf"
	KindLayout     Kind = "oci-layout"
	KindArchive    Kind = "archive"
	KindRegistry   Kind = "registry"
	KindDocker     Kind = "docker"
	KindContainerd Kind = "containerd"
	KindPodman     Kind = "podman"
)

// Image is one manifest.
type Image struct {
	Name         string            `json:"name,omitempty"`
	Digest       string            `json:"digest,omitempty"` // of the manifest; what Docker 20.10 saves has none
	ConfigDigest string            `json:"config_digest"`
	Platform     string            `json:"platform,omitempty"`
	Target       Target            `json:"target"`
	Targets      []string          `json:"targets,omitempty"` // of a packed image, BOARD/MCU, in the order in which they are tried
	Annotations  map[string]string `json:"annotations,omitempty"`
	Entrypoint   string            `json:"entrypoint,omitempty"`
	Size         int64             `json:"size"` // bytes to download: config and layers
	Layers       []Layer           `json:"layers"`
	Files        []File            `json:"files"`
	// Firmware is one for each core that the image serves.
	Firmware []Firmware `json:"firmware"`
	// Findings are about the image; a firmware has its own.
	Findings []Finding `json:"findings"`
	// Problem is why there is no firmware, or no target.
	Problem string `json:"problem,omitempty"`
}

// Target is the core that something is for, and which places say so.
type Target struct {
	Board     string   `json:"board,omitempty"`
	MCU       string   `json:"mcu,omitempty"`
	Processor string   `json:"processor,omitempty"`
	SaidBy    []string `json:"said_by,omitempty"`
}

// Layer is a blob of files.
type Layer struct {
	Digest    string `json:"digest"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"`
	Unpacked  int64  `json:"unpacked"`
}

// File is a file of an image.
type File struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// Finding is firmware.Finding, for JSON.
type Finding struct {
	Code     firmware.Code `json:"code"`
	Severity string        `json:"severity"` // error or warning
	Message  string        `json:"message"`
}

func findings(found []firmware.Finding) []Finding {
	list := []Finding{}
	for _, f := range found {
		severity := "warning"
		if f.Fatal {
			severity = "error"
		}
		list = append(list, Finding{f.Code, severity, f.Message})
	}
	return list
}

// Firmware is one ELF file, for one core.
type Firmware struct {
	Path     string         `json:"path"`
	SHA256   string         `json:"sha256"`
	Core     *Core          `json:"core,omitempty"` // what it was checked against; none: not known
	Machine  string         `json:"machine"`
	Class    int            `json:"class"` // 32 or 64
	Entry    Address        `json:"entry"`
	Arm      *Arm           `json:"arm,omitempty"`
	Boot     *Boot          `json:"boot,omitempty"`
	Sizes    Sizes          `json:"sizes"`
	Segments []Segment      `json:"segments"`
	Memory   []Region       `json:"memory,omitempty"` // of the core
	Table    *ResourceTable `json:"resource_table,omitempty"`
	Findings []Finding      `json:"findings"`
}

// Core is a core of the catalogue.
type Core struct {
	Board      string `json:"board,omitempty"`
	MCU        string `json:"mcu"`
	Compatible string `json:"compatible"`
}

// Arm is what the build attributes say.
type Arm struct {
	CPU           string `json:"cpu,omitempty"`
	Architecture  string `json:"architecture"`
	FloatABI      string `json:"float_abi"` // hard, softfp or soft
	FloatingPoint string `json:"floating_point,omitempty"`
}

// Boot is what the core starts with.
type Boot struct {
	VectorTable Address `json:"vector_table"`
	Stack       Address `json:"stack"`
	Reset       Address `json:"reset"`
}

// Sizes are bytes.
type Sizes struct {
	File   uint64 `json:"file"`
	Loaded uint64 `json:"loaded"` // of the file, what the kernel copies
	Debug  uint64 `json:"debug"`  // of the file, for a debugger
	Code   uint64 `json:"code"`
	ROData uint64 `json:"rodata"`
	Data   uint64 `json:"data"`
	BSS    uint64 `json:"bss"`
}

// Beside is what is in the file and not loaded.
func (s Sizes) Beside() uint64 { return s.File - min(s.File, s.Loaded) }

// Segment is a PT_LOAD program header.
type Segment struct {
	Address    Address `json:"address"`
	FileSize   uint64  `json:"file_size"`
	MemorySize uint64  `json:"memory_size"`
	Flags      string  `json:"flags"`            // r, w, x or -
	Region     string  `json:"region,omitempty"` // where it lies
}

// Region is memory of the core and how much of it the firmware takes, the stack not
// counted.
type Region struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind"`
	Address Address `json:"address"`
	Size    uint64  `json:"size"`
	Linux   Address `json:"linux_address"`
	AliasOf string  `json:"alias_of,omitempty"` // the region of which this is another view
	Used    uint64  `json:"used"`               // through any view
}

// ResourceTable is what the firmware asks of Linux.
type ResourceTable struct {
	Address Address    `json:"address"`
	Size    uint64     `json:"size"`
	Entries []Resource `json:"entries"`
}

// Resource is an entry of a resource table.
type Resource struct {
	Type     string   `json:"type"`
	Name     string   `json:"name,omitempty"`
	Address  *Address `json:"address,omitempty"` // none of a vdev
	Physical *Address `json:"physical_address,omitempty"`
	Size     uint64   `json:"size,omitempty"`
	Flags    uint32   `json:"flags,omitempty"`
	ID       uint32   `json:"id,omitempty"` // virtio device ID
	Features uint32   `json:"features,omitempty"`
	Vrings   []Vring  `json:"vrings,omitempty"`
}

// Vring is one of a vdev.
type Vring struct {
	Address  Address `json:"address"`
	Buffers  uint32  `json:"buffers"`
	Align    uint32  `json:"align"`
	NotifyID uint32  `json:"notify_id"`
}

// Address is written in hexadecimal.
type Address uint64

func (a Address) String() string { return fmt.Sprintf("0x%08x", uint64(a)) }

// MarshalText makes it a string in JSON.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
