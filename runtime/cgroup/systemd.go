package cgroup

import (
	"fmt"
	"strings"
)

// defaultSlice is where systemd puts what belongs nowhere.
const defaultSlice = "system.slice"

// expand turns SLICE:PREFIX:NAME into the path that systemd gives the scope of that
// name: /a.slice/a-b.slice/PREFIX-NAME.scope for the slice a-b.slice. systemd itself
// is not asked: that takes its D-Bus, and a firmware has no processes that it could
// account for. It leaves cgroups alone that it does not know.
func expand(path string) (string, error) {
	parts := strings.Split(path, ":")
	if len(parts) != 3 || parts[2] == "" || strings.Contains(path, "/") {
		return "", fmt.Errorf("%q: want SLICE:PREFIX:NAME, as --systemd-cgroup is given", path)
	}
	slice, prefix, name := parts[0], parts[1], parts[2]
	if slice == "" {
		slice = defaultSlice
	}
	dir, err := expandSlice(slice)
	if err != nil {
		return "", err
	}
	switch {
	case strings.HasSuffix(name, ".slice"):
	case prefix == "":
		name += ".scope"
	default:
		name = prefix + "-" + name + ".scope"
	}
	return dir + "/" + name, nil
}

// expandSlice returns the path of a slice: systemd.slice(5).
func expandSlice(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if !ok || name == "" {
		return "", fmt.Errorf("%q is not the name of a slice", slice)
	}
	if name == "-" {
		return "", nil // the root
	}
	var path, prefix strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		if part == "" {
			return "", fmt.Errorf("%q is not the name of a slice", slice)
		}
		if prefix.Len() > 0 {
			prefix.WriteByte('-')
		}
		prefix.WriteString(part)
		path.WriteString("/" + prefix.String() + ".slice")
	}
	return path.String(), nil
}
