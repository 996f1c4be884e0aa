package sysfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/sysfs/kmsg"
)

// file is a file of sysfs or debugfs. Every read calls show, every write store.
type file struct {
	name  string
	mode  uint32
	size  uint64                                        // what stat says, whatever the content is
	show  func() ([]byte, error)                        // nil: cannot be read
	store func(ctx context.Context, value string) error // nil: cannot be written
	// readAt is instead of show, for what is large: how many bytes were put into b.
	readAt func(b []byte, off int64) (int, error)
}

const attributeSize = 4096 // of every attribute in sysfs

func text(f func() string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(f()), nil }
}

func constant(s string) func() ([]byte, error) { return text(func() string { return s }) }

// same is sysfs_streq: one newline at the end does not count.
func same(value, word string) bool { return strings.TrimSuffix(value, "\n") == word }

// attributes are remoteproc_sysfs.c.
func (c *Core) attributes() []*file {
	files := []*file{
		{name: "coredump", mode: 0o644, show: text(c.showCoredump), store: logged(c.kernel, c.class(), c.storeCoredump)},
		{name: "firmware", mode: 0o644, show: text(c.showFirmware), store: logged(c.kernel, c.platform(), c.setFirmware)},
		{name: "name", mode: 0o444, show: constant(c.config.Name + "\n")},
		{name: "recovery", mode: 0o644, show: text(c.showRecovery), store: c.storeRecovery},
		{name: "state", mode: 0o644, show: text(func() string { return string(c.is()) + "\n" }), store: c.storeState},
		{name: "uevent", mode: 0o644, show: constant("DEVTYPE=remoteproc\n"), store: storeUevent},
	}
	for _, f := range files {
		f.size = attributeSize
		if c.config.ReadOnly && f.name != "uevent" {
			f.mode, f.store = 0o444, nil
		}
	}
	return files
}

// debug is remoteproc_debugfs.c, without the traces, which come and go.
func (c *Core) debug() []*file {
	return []*file{
		{name: "carveout_memories", mode: 0o400, show: text(c.showCarveouts)},
		{name: "coredump", mode: 0o600, show: text(c.showCoredump), store: logged(c.kernel, c.class(), c.storeDebugCoredump)},
		{name: "crash", mode: 0o200, store: c.storeCrash},
		{name: "name", mode: 0o400, show: constant(c.config.Name + "\n")},
		{name: "recovery", mode: 0o600, show: text(c.showRecovery), store: c.storeDebugRecovery},
		{name: "resource_table", mode: 0o400, show: text(c.showTable)},
	}
}

// logged is store with what the kernel logs when it refuses.
func logged(k *kernel, about device, store func(context.Context, string) error) func(context.Context, string) error {
	return func(ctx context.Context, value string) error {
		err := store(ctx, value)
		k.explain(about, err)
		return err
	}
}

func (c *Core) storeState(ctx context.Context, value string) error {
	switch {
	case same(value, "start"):
		err := c.start(ctx)
		if err != nil {
			c.printk(kmsg.Error, "Boot failed: -%d", errnoOf(err))
		}
		return err
	case same(value, "stop"):
		return c.stop(ctx)
	case same(value, "detach"):
		return c.detach(ctx)
	}
	c.printk(kmsg.Error, "Unrecognised option: %s", value)
	return unix.EINVAL
}

func (c *Core) showFirmware() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == attached {
		return "unknown\n"
	}
	return c.firmware + "\n"
}

func (c *Core) showRecovery() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recovery {
		return "enabled\n"
	}
	return "disabled\n"
}

func (c *Core) setRecovery(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recovery = on
}

// storeRecovery succeeds whatever comes of the recovery.
func (c *Core) storeRecovery(ctx context.Context, value string) error {
	switch {
	case same(value, "enabled"):
		c.setRecovery(true)
		_ = c.recover(ctx)
	case same(value, "disabled"):
		c.setRecovery(false)
	case same(value, "recover"):
		_ = c.recover(ctx)
	default:
		return unix.EINVAL
	}
	return nil
}

// prefix is the comparison of remoteproc_debugfs.c: as many bytes as were written.
func prefix(value, word string) bool {
	value, line := strings.CutSuffix(value, "\n")
	if line {
		return value == word // the newline became the zero that ends the word
	}
	return strings.HasPrefix(word, value)
}

func (c *Core) storeDebugRecovery(ctx context.Context, value string) error {
	if len(value) < 1 || len(value) > 10 {
		return unix.EINVAL
	}
	switch {
	case prefix(value, "enabled"):
		c.setRecovery(true)
		_ = c.recover(ctx)
	case prefix(value, "disabled"):
		c.setRecovery(false)
	case prefix(value, "recover"):
		_ = c.recover(ctx)
	default:
		return unix.EINVAL
	}
	return nil
}

func (c *Core) showCoredump() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.coredump + "\n"
}

func (c *Core) storeCoredump(_ context.Context, value string) error {
	return c.setCoredump(value, same)
}

func (c *Core) storeDebugCoredump(_ context.Context, value string) error {
	if len(value) < 1 || len(value) > 20 {
		return unix.EINVAL
	}
	return c.setCoredump(value, prefix)
}

func (c *Core) setCoredump(value string, is func(value, word string) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == crashed {
		return errorf(unix.EBUSY, "can't change coredump configuration")
	}
	for _, word := range []string{"disabled", "enabled", "inline"} {
		if is(value, word) {
			c.coredump = word
			return nil
		}
	}
	return errorf(unix.EINVAL, "Invalid coredump configuration")
}

// storeCrash takes any unsigned number, as kstrtouint does.
func (c *Core) storeCrash(_ context.Context, value string) error {
	value = strings.TrimPrefix(strings.TrimSuffix(value, "\n"), "+")
	n, err := strconv.ParseUint(value, 0, 32)
	if err != nil || strings.Contains(value, "_") {
		if errors.Is(err, strconv.ErrRange) {
			return unix.ERANGE
		}
		return unix.EINVAL
	}
	c.Crash(CrashType(n))
	return nil
}

func (c *Core) showTable() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return describe(c.table)
}

func (c *Core) showCarveouts() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s strings.Builder
	for _, r := range c.carveouts {
		fmt.Fprintf(&s, "Carveout memory entry:\n\tName: %s\n\tVirtual address: (ptrval)\n\tDMA address: 0x%08x\n\tDevice address: 0x%x\n\tLength: 0x%x Bytes\n\n",
			r.Name, r.Start, r.Start, r.Size)
	}
	return s.String()
}

// storeUevent accepts the actions of kobject_synth_uevent, and sends nothing.
func storeUevent(_ context.Context, value string) error {
	action, _, _ := strings.Cut(strings.TrimSuffix(value, "\n"), " ")
	if !slices.Contains([]string{"add", "remove", "change", "move", "online", "offline", "bind", "unbind"}, action) {
		return unix.EINVAL
	}
	return nil
}
