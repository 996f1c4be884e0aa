package runtime

import (
	"fmt"
	"io"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/runtime/monitor"
)

// Start boots the firmware of a created container and returns when the kernel says
// that it runs. If it does not boot the error has the kernel's reason, and the
// container is stopped.
func (r *Runtime) Start(id string) error {
	c, err := r.read(id)
	if err != nil {
		return err
	}
	conn, err := monitor.Dial(c.dir)
	if err != nil {
		if c.derive(r.Host); c.status != specs.StateCreated {
			return fmt.Errorf("cannot start container %s: it is %s", id, c.status)
		}
		return fmt.Errorf("cannot start container %s: its monitor does not answer: %w", id, err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, monitor.StartRequest); err != nil {
		return fmt.Errorf("cannot start container %s: %w", id, err)
	}
	answer, err := io.ReadAll(conn)
	switch {
	case string(answer) == monitor.StartDone:
		return nil
	case len(answer) > 0:
		return fmt.Errorf("cannot start container %s: %s", id, strings.TrimSpace(string(answer)))
	case err != nil:
		return fmt.Errorf("cannot start container %s: %w", id, err)
	}
	// stopped meanwhile, or started by somebody else
	return fmt.Errorf("cannot start container %s: its monitor ended before the processor was started", id)
}
