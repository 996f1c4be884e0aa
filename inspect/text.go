package inspect

import (
	"fmt"
	"io"
	"path"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/hybrid-containers/hybrid/firmware"
)

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	t := &text{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.DiscardEmptyColumns)}
	if r.Firmware != nil {
		t.firmware(r.Firmware)
	}
	for i := range r.Images {
		if i > 0 {
			t.line("")
		}
		t.image(&r.Images[i])
	}
	return t.w.Flush()
}

// text writes tables whose columns the tabwriter aligns; a blank line starts another.
type text struct{ w *tabwriter.Writer }

func (t *text) line(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = clean(s)
		}
	}
	fmt.Fprintf(t.w, format+"\n", args...)
}

// clean keeps what a foreign file says from moving the cursor or making lines.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func (t *text) field(name, format string, args ...any) {
	t.line("%s\t%s", name, fmt.Sprintf(format, args...))
}

func (t *text) image(i *Image) {
	if i.Name != "" {
		t.field("Name", "%s", i.Name)
	}
	if i.Digest != "" {
		t.field("Digest", "%s", i.Digest)
	}
	t.field("Config", "%s", i.ConfigDigest)
	if i.Platform != "" {
		t.field("Platform", "%s", i.Platform)
	}
	if len(i.Targets) > 0 {
		t.field("Targets", "%s  (packed)", strings.Join(i.Targets, ", "))
	}
	if i.Target.Board != "" || len(i.Targets) == 0 {
		t.field("Target", "%s", i.Target)
	}
	if i.Entrypoint != "" {
		t.field("Entrypoint", "%s", i.Entrypoint)
	}
	for _, l := range i.Layers {
		t.field("Layer", "%s  %s, %s unpacked (%s)", l.Digest, bytesOf(uint64(l.Size)), bytesOf(uint64(l.Unpacked)), path.Base(l.MediaType))
	}
	t.field("Size", "%s: config and layers", bytesOf(uint64(i.Size)))
	for _, f := range i.Files {
		t.field("File", "%s  %s", f.Path, bytesOf(uint64(f.Size)))
	}
	if i.Problem != "" {
		t.field("Problem", "%s", i.Problem)
	}
	if len(i.Findings) > 0 {
		t.findings(i.Findings)
	}
	for n := range i.Firmware {
		t.line("")
		t.firmware(&i.Firmware[n])
	}
}

// String is BOARD/MCU with the places that say so.
func (t Target) String() string {
	s := strings.TrimSuffix(t.Board+"/"+t.MCU, "/")
	if s == "" {
		s = "none"
	}
	if t.Processor != "" {
		s += " on " + t.Processor
	}
	if len(t.SaidBy) > 0 {
		s += "  (" + strings.Join(t.SaidBy, ", ") + ")"
	}
	return s
}

func (t *text) firmware(f *Firmware) {
	t.field("Firmware", "%s", f.Path)
	t.field("SHA-256", "%s", f.SHA256)
	if f.Machine != "" {
		t.field("Machine", "%s", f.machine())
		t.field("Entry", "%s", f.Entry)
	}
	if f.Boot != nil {
		t.field("Vectors", "%s: stack %s, reset %s", f.Boot.VectorTable, f.Boot.Stack, f.Boot.Reset)
	}
	s := f.Sizes
	debug := "no debug information"
	if s.Debug > 0 {
		debug = "of that " + bytesOf(s.Debug) + " for a debugger"
	}
	t.field("File", "%s: %s loaded, %s beside it, %s", bytesOf(s.File), bytesOf(s.Loaded), bytesOf(s.Beside()), debug)
	t.field("Program", "code %s, rodata %s, data %s; bss %s", bytesOf(s.Code), bytesOf(s.ROData), bytesOf(s.Data), bytesOf(s.BSS))
	t.segments(f.Segments)
	t.memory(f)
	t.table(f.Table)
	t.line("")
	switch {
	case len(f.Findings) > 0:
		t.findings(f.Findings)
	case f.Core == nil:
		t.line("Not checked: nothing says for which core it is (--board, --mcu)")
	default:
		t.line("Checked for %s: nothing found", f.Core.MCU)
	}
}

func (fw *Firmware) machine() string {
	s := fmt.Sprintf("%s, %d bit", strings.TrimPrefix(fw.Machine, "EM_"), fw.Class)
	if fw.Arm != nil {
		s += ", v" + strings.TrimPrefix(fw.Arm.Architecture, "v") + ", float ABI " + fw.Arm.FloatABI
		if fw.Arm.FloatingPoint != "" {
			s += " (" + fw.Arm.FloatingPoint + ")"
		}
	}
	return s
}

func (t *text) segments(segments []Segment) {
	if len(segments) == 0 {
		return
	}
	t.line("")
	t.line("SEGMENT\tFILE\tMEMORY\tFLAGS\tREGION")
	for _, s := range segments {
		t.line("%s\t%s\t%s\t%s\t%s", s.Address, bytesOf(s.FileSize), bytesOf(s.MemorySize), s.Flags, or(s.Region, "?"))
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// memory draws the regions that are used, and those that are the core's own.
func (t *text) memory(f *Firmware) {
	if len(f.Memory) == 0 {
		return
	}
	t.line("")
	t.line("MEMORY\tADDRESS\tUSED")
	for _, r := range f.Memory {
		if r.AliasOf != "" || (r.Used == 0 && (r.Kind == "ddr" || r.Kind == "flash")) {
			continue
		}
		t.line("%s\t%s\t%s %s of %s", r.Name, r.Address, bar(r.Used, r.Size), kib(r.Used), kib(r.Size))
	}
}

// bar shows a share; what is used at all is seen.
func bar(used, size uint64) string {
	const width = 24
	n := int(used * width / max(size, 1))
	if used > 0 {
		n = max(n, 1)
	}
	n = min(n, width)
	return "[" + strings.Repeat("#", n) + strings.Repeat("-", width-n) + "]"
}

func (t *text) table(table *ResourceTable) {
	if table == nil {
		return
	}
	t.line("")
	entries := "entries"
	if len(table.Entries) == 1 {
		entries = "entry"
	}
	t.line("Resource table at %s, %s, %d %s", table.Address, bytesOf(table.Size), len(table.Entries), entries)
	for _, e := range table.Entries {
		t.line("  %s", e)
		for i, v := range e.Vrings {
			t.line("    vring %d %s", i, v)
		}
	}
}

func (e Resource) String() string {
	return strings.TrimSpace(e.title() + " " + e.detail())
}

func (e Resource) title() string {
	if e.Name != "" {
		return fmt.Sprintf("%s %q", e.Type, e.Name)
	}
	return e.Type
}

func (e Resource) detail() string {
	const rpmsg = 7
	switch {
	case e.Type == "vdev" && e.ID == rpmsg:
		return fmt.Sprintf("rpmsg, features %#x, %d vrings", e.Features, len(e.Vrings))
	case e.Type == "vdev":
		return fmt.Sprintf("virtio device %d, features %#x, %d vrings", e.ID, e.Features, len(e.Vrings))
	case e.Address == nil:
		return ""
	}
	return fmt.Sprintf("%s, %s", e.Address.place(), bytesOf(e.Size))
}

func (v Vring) String() string {
	return fmt.Sprintf("%s, %d buffers, aligned to %d", v.Address.place(), v.Buffers, v.Align)
}

// place is an address of a resource table, where Linux may choose.
func (a Address) place() string {
	if a == firmware.AnyAddress {
		return "anywhere"
	}
	return "at " + a.String()
}

func (t *text) findings(found []Finding) {
	for _, f := range found {
		t.line("%s: %s: %s", f.Severity, f.Code, f.Message)
	}
}

// bytesOf is a size for people: exact as long as that is short.
func bytesOf(n uint64) string {
	if n < 10_000 {
		return fmt.Sprintf("%d B", n)
	}
	return kib(n)
}

func kib(n uint64) string {
	if n >= 10<<20 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
