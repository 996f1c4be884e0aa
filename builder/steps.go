package builder

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/buildkit/util/entitlements"
)

// Steps are the surroundings of the RUN instructions, as on docker's command line.
type Steps struct {
	Network      string   // default, none or host; "": default
	AddHosts     []string // NAME:ADDRESS or NAME=ADDRESS
	ULimits      []string // NAME=SOFT[:HARD]
	ShmSize      string   // bytes, with k, m or g behind
	CgroupParent string
	Resources    []string // KEY=VALUE: memory, memory-swap, cpu-shares, cpu-period, cpu-quota, cpuset-cpus, cpuset-mems
	Allow        []string // entitlements: network.host, security.insecure, device
}

// attrs writes the surroundings into the front end's attributes, and returns what
// the build must be allowed.
func (s *Steps) attrs(attrs map[string]string) (allowed []string, err error) {
	for _, a := range s.Allow {
		if _, _, err := entitlements.Parse(a); err != nil {
			return nil, usageErrorf("--allow %s: want network.host, security.insecure or device[=NAME]", a)
		}
		allowed = append(allowed, a)
	}
	switch s.Network {
	case "", "default":
	case "host": // whoever asks for it by name has allowed it
		allowed = append(allowed, entitlements.EntitlementNetworkHost.String())
		fallthrough
	case "none":
		attrs["force-network-mode"] = s.Network
	default:
		return nil, usageErrorf("--network %s: want default, none or host", s.Network)
	}
	hosts, err := parseHosts(s.AddHosts)
	if err != nil {
		return nil, err
	}
	if hosts != "" {
		attrs["add-hosts"] = hosts
	}
	var limits []string
	for _, l := range s.ULimits {
		parsed, err := units.ParseUlimit(l)
		if err != nil {
			return nil, usageErrorf("--ulimit %s: %w", l, err)
		}
		limits = append(limits, parsed.String())
	}
	if len(limits) > 0 {
		attrs["ulimit"] = strings.Join(limits, ",")
	}
	if s.ShmSize != "" {
		size, err := units.RAMInBytes(s.ShmSize)
		if err != nil || size <= 0 {
			return nil, usageErrorf("--shm-size %s: want a number of bytes, such as 64m", s.ShmSize)
		}
		attrs["shm-size"] = strconv.FormatInt(size, 10)
	}
	if s.CgroupParent != "" {
		attrs["cgroup-parent"] = s.CgroupParent
	}
	for _, r := range s.Resources {
		if err := addResource(attrs, r); err != nil {
			return nil, err
		}
	}
	return allowed, nil
}

// resources are the keys of --resource, as docker run's flags are called, and the
// front end's names for them (frontend/dockerui/attr.go).
var resources = map[string]string{
	"memory": "memory", "memory-swap": "memswap", "cpu-shares": "cpushares", "cpu-period": "cpuperiod",
	"cpu-quota": "cpuquota", "cpuset-cpus": "cpusetcpus", "cpuset-mems": "cpusetmems",
}

// addResource adds a limit of the cgroup that RUN steps are in.
func addResource(attrs map[string]string, flag string) error {
	key, value, ok := strings.Cut(flag, "=")
	name, known := resources[key]
	if !ok || !known || value == "" {
		return usageErrorf("--resource %q: want KEY=VALUE with %s", flag, strings.Join(slices.Sorted(maps.Keys(resources)), ", "))
	}
	switch {
	case strings.HasPrefix(key, "memory") && value != "-1": // -1: as much swap as there is
		size, err := units.RAMInBytes(value)
		if err != nil || size <= 0 {
			return usageErrorf("--resource %s: want a number of bytes, such as 512m", flag)
		}
		value = strconv.FormatInt(size, 10)
	case strings.HasPrefix(key, "cpu-"):
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return usageErrorf("--resource %s: want a number", flag)
		}
	}
	attrs[name] = value
	return nil
}

// parseHosts turns docker's NAME:ADDRESS[,ADDRESS…] into BuildKit's list. An IPv6
// address may be in brackets.
func parseHosts(flags []string) (string, error) {
	var hosts []string
	for _, flag := range flags {
		name, addresses, ok := strings.Cut(flag, "=")
		if !ok {
			name, addresses, ok = strings.Cut(flag, ":")
		}
		if !ok || name == "" {
			return "", usageErrorf("--add-host %q: want NAME:ADDRESS", flag)
		}
		for a := range strings.SplitSeq(addresses, ",") {
			if inner, ok := strings.CutPrefix(a, "["); ok {
				a = strings.TrimSuffix(inner, "]")
			}
			if net.ParseIP(a) == nil {
				return "", usageErrorf("--add-host %q: %q is no IP address", flag, a)
			}
			hosts = append(hosts, name+"="+a)
		}
	}
	return strings.Join(hosts, ","), nil
}
