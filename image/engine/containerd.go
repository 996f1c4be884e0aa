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
	// All platforms: the image is for the board's core. A board that has pulled those
	// of its own platform alone cannot export others.
	err = run(ctx, dst, ctr("export", "--all-platforms", "-", name)...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if dst.reset() != nil || run(ctx, dst, ctr("export", "-", name)...) != nil {
		return err
	}
	return nil
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
