package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What the monitor needs to do its work. A limit below is raised to it: one that ends
// the monitor would leave a processor running that nobody watches.
const (
	leastMemory = 32 << 20
	leastPIDs   = 64
)

// Limit sets the limits of linux.resources that make sense for the monitor: memory,
// processes, the processors of Linux and the weight. The others, above all a quota of
// time, which would let the monitor see a crash late, do nothing to a firmware.
func (c *Cgroup) Limit(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	for _, f := range c.folders {
		for _, l := range limits(f.unified, r) {
			if !f.unified && !f.has(l.controller) {
				continue
			}
			// without a file there is no controller to limit anything
			if err := write(f.name, l.file, l.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("limit the cgroup: %w", err)
			}
		}
	}
	return nil
}

type limit struct{ controller, file, value string }

func limits(unified bool, r *specs.LinuxResources) []limit {
	var found []limit
	add := func(controller, v1, v2, value string) {
		file := v1
		if unified {
			file = v2
		}
		found = append(found, limit{controller, file, value})
	}
	if m := r.Memory; m != nil && m.Limit != nil && *m.Limit > 0 {
		add("memory", "memory.limit_in_bytes", "memory.max", strconv.FormatInt(max(*m.Limit, leastMemory), 10))
	}
	if p := r.Pids; p != nil && p.Limit != nil && *p.Limit > 0 {
		add("pids", "pids.max", "pids.max", strconv.FormatInt(max(*p.Limit, leastPIDs), 10))
	}
	if cpu := r.CPU; cpu != nil {
		if cpu.Shares != nil && *cpu.Shares > 0 {
			shares := *cpu.Shares
			if unified {
				shares = weight(shares)
			}
			add("cpu", "cpu.shares", "cpu.weight", strconv.FormatUint(shares, 10))
		}
		if cpu.Cpus != "" {
			add("cpuset", "cpuset.cpus", "cpuset.cpus", cpu.Cpus)
		}
		if cpu.Mems != "" {
			add("cpuset", "cpuset.mems", "cpuset.mems", cpu.Mems)
		}
	}
	return found
}

// weight converts shares, 2 to 262144, to what version 2 has for them, 1 to 10000.
func weight(shares uint64) uint64 {
	shares = min(max(shares, 2), 262144)
	return 1 + (shares-2)*9999/262142
}
