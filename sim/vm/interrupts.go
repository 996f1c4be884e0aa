package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/hybrid-containers/hybrid/sim/qemu"
)

// interrupts raises interrupts of Linux from outside of QEMU, by its test protocol
// (qtest), which knows the inputs of a device by the device's path.
type interrupts struct {
	w    io.Writer
	r    *bufio.Reader
	path string // of the interrupt controller
}

// newInterrupts finds the interrupt controller. QEMU's end of qtest is gone with the
// process, which ends what waits here.
func newInterrupts(ctx context.Context, monitor *qemu.Monitor, qtest io.ReadWriter) (*interrupts, error) {
	out, err := monitor.Execute(ctx, "qom-list", map[string]string{"path": "/machine/unattached"})
	if err != nil {
		return nil, err
	}
	var devices []struct{ Name, Type string }
	if err := json.Unmarshal(out, &devices); err != nil {
		return nil, fmt.Errorf("qemu: qom-list: %w", err)
	}
	for _, d := range devices {
		if d.Type == "child<arm_gic>" {
			return &interrupts{w: qtest, r: bufio.NewReader(qtest), path: "/machine/unattached/" + d.Name}, nil
		}
	}
	return nil, fmt.Errorf("qemu: the virt machine has no interrupt controller that we know")
}

// Set sets the level of a shared peripheral interrupt.
func (i *interrupts) Set(irq int, level bool) error {
	n := 0
	if level {
		n = 1
	}
	if _, err := fmt.Fprintf(i.w, "set_irq_in %s unnamed-gpio-in %d %d\n", i.path, irq, n); err != nil {
		return fmt.Errorf("interrupt %d: %w", irq, err)
	}
	answer, err := i.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(answer, "OK") {
		err = fmt.Errorf("qemu says %q", strings.TrimSpace(answer))
	}
	if err != nil {
		return fmt.Errorf("interrupt %d: %w", irq, err)
	}
	return nil
}
