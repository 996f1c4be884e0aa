package bundle

import specs "github.com/opencontainers/runtime-spec/specs-go"

// args are the arguments of a container's process as its image and its user gave them:
// without the program that reaps a Linux container's processes, which --init of Docker
// and podman puts before them, at one of these paths, with "--". Firmware has no
// processes, and the program is mounted there for Linux containers alone.
func args(p *specs.Process) []string {
	if len(p.Args) > 2 && p.Args[1] == "--" {
		switch p.Args[0] {
		case "/sbin/docker-init", "/run/podman-init", "/dev/init":
			return p.Args[2:]
		}
	}
	return p.Args
}
