package remoteproc

import (
	"io"
	"os"
	"path/filepath"
)

// Dump is a dump of a core's memory that the kernel has made and keeps for five
// minutes: drivers/base/devcoredump.c.
type Dump struct{ dir string }

// Dumps lists the dumps of the processor that are there now.
func (p *Processor) Dumps() []Dump {
	class := filepath.Join(p.dir, "../../devcoredump")
	entries, err := os.ReadDir(class)
	if err != nil {
		return nil // a kernel without them, or none since it was booted
	}
	var dumps []Dump
	for _, e := range entries {
		dir := filepath.Join(class, e.Name())
		failing, err := os.Readlink(filepath.Join(dir, "failing_device"))
		if err == nil && filepath.Base(failing) == p.Instance {
			dumps = append(dumps, Dump{dir})
		}
	}
	return dumps
}

// CopyTo copies the dump, an ELF core file.
func (d Dump) CopyTo(w io.Writer) (int64, error) {
	f, err := os.Open(filepath.Join(d.dir, "data"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(w, f)
}

// Free lets the kernel forget the dump.
func (d Dump) Free() error { return writeFile(filepath.Join(d.dir, "data"), "0") }
