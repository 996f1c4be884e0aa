package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hierarchy is a tree of cgroups.
type hierarchy struct {
	dir         string   // where it is mounted
	unified     bool     // version 2
	controllers []string // of version 1; name=… of one without
	own         string   // path of the caller's cgroup in it
}

func (h hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// mounted lists the hierarchies that a process sees: proc_pid_mountinfo(5), and
// cgroups(7) for its own place in them.
func mounted(proc string) ([]hierarchy, error) {
	mounts, err := os.ReadFile(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	if err != nil {
		return nil, err
	}
	var found []hierarchy
	for line := range strings.Lines(string(mounts)) {
		mount, filesystem, _ := strings.Cut(line, " - ")
		fields, of := strings.Fields(mount), strings.Fields(filesystem)
		if len(fields) < 5 || len(of) < 3 || (of[0] != "cgroup" && of[0] != "cgroup2") {
			continue
		}
		h, ok := hierarchyOf(own, of[0] == "cgroup2", strings.Split(of[2], ","))
		// one that is mounted twice is one
		if !ok || slices.ContainsFunc(found, h.same) {
			continue
		}
		h.dir = unescape(fields[4])
		found = append(found, h)
	}
	return found, nil
}

// Versions reports which versions of cgroups have controllers on this system.
func Versions() (v1, v2 bool, err error) {
	all, err := mounted("/proc/self")
	for _, h := range all {
		if h.unified {
			b, err := os.ReadFile(filepath.Join(h.dir, "cgroup.controllers"))
			v2 = v2 || err == nil && len(b) > 1
			continue
		}
		v1 = v1 || slices.ContainsFunc(h.controllers, func(c string) bool { return !strings.HasPrefix(c, "name=") })
	}
	return v1, v2, err
}

func (h hierarchy) same(other hierarchy) bool {
	return h.unified == other.unified && slices.Equal(h.controllers, other.controllers)
}

// unescape undoes what the kernel writes for characters that would end a field.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// hierarchyOf finds a mount among the lines ID:CONTROLLERS:PATH of /proc/PID/cgroup: the
// one all of whose controllers are options of the mount, or the one without any.
func hierarchyOf(lines []byte, unified bool, options []string) (hierarchy, bool) {
	for line := range strings.Lines(string(lines)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(fields) != 3 || unified != (fields[1] == ""):
		case unified:
			return hierarchy{unified: true, own: fields[2]}, true
		default:
			names := strings.Split(fields[1], ",")
			if !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(options, n) }) {
				return hierarchy{controllers: names, own: fields[2]}, true
			}
		}
	}
	return hierarchy{}, false
}
