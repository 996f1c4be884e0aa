package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// exportContainerd writes the image [NAMESPACE/]NAME. The first part is a namespace if
// containerd has one of that name: image names have slashes too.
func exportContainerd(ctx context.Context, name string, dst *file) error {
	namespace := os.Getenv("CONTAINERD_NAMESPACE")
	if namespace == "" {
		namespace = "default"
	}
	if first, rest, ok := strings.Cut(name, "/"); ok {
		namespaces, err := list(ctx, "ctr", "namespaces", "ls", "-q")
		if err != nil {
			return err
		}
		if slices.Contains(namespaces, first) && rest != "" && !strings.HasPrefix(rest, "-") {
			namespace, name = first, rest
		}
	}
	ctr := func(args ...string) []string { return append([]string{"ctr", "-n", namespace, "images"}, args...) }
	names, err := list(ctx, ctr("ls", "-q")...)
	if err != nil {
		return err
	}
	if !slices.Contains(names, name) {
		full := fullName(name)
		if !slices.Contains(names, full) {
			return fmt.Errorf("no image %s in containerd's namespace %s (%s)", full, namespace, has("it", names))
		}
		name = full
	}
	// All platforms, for the image is for a core: those of an index may differ in the
	// platform of the Linux beside it. ctr wants one for this machine among them, unless
	// it is told others; and a board that has pulled those of its own platform alone
	// cannot export the rest.
	var first error
	for _, platforms := range [][]string{{"--all-platforms"}, {"--platform", "linux/arm64", "--platform", "linux/arm/v7"}, nil} {
		if err := dst.reset(); err != nil {
			return err
		}
		err := run(ctx, dst, saveSilence, ctr(slices.Concat([]string{"export"}, platforms, []string{"-", name})...)...)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// fullName is the name by which containerd knows what people call by less: as with
// Docker, the registry is docker.io, and the tag latest.
func fullName(name string) string {
	if first, _, ok := strings.Cut(name, "/"); !ok {
		name = "docker.io/library/" + name
	} else if !strings.ContainsAny(first, ".:") && first != "localhost" {
		name = "docker.io/" + name
	}
	if strings.Contains(name, "@") || strings.LastIndex(name, ":") > strings.LastIndex(name, "/") {
		return name
	}
	return name + ":latest"
}
