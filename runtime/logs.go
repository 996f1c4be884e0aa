package runtime

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hybrid-containers/hybrid/runtime/monitor"
)

// Logs writes what is kept of the container's output to w: what the firmware wrote,
// and what the monitor had to say. The latest 256 KiB at least are kept.
func (r *Runtime) Logs(id string, w io.Writer) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	for _, name := range []string{monitor.ConsoleOldLog, monitor.ConsoleLog} {
		f, err := os.Open(filepath.Join(c.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
