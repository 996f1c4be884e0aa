package engine

import (
	"context"
	"errors"
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
		export := func(options ...string) error {
			if err := dst.reset(); err != nil {
				return err
			}
			return run(ctx, dst, saveSilence, ctr(slices.Concat([]string{"export"}, options, platforms, []string{"-", name})...)...)
		}
		// Since containerd 1.7 ctr has the daemon export, and ends, with 0, without waiting
		// for the last of what that sends: the archive may be cut short (ctr's export.go
		// returns from Transfer while a goroutine of ImageExportStream copies). An older
		// ctr writes it itself, and does not know the option to.
		err := export("--local")
		if unknownOption(err, "local") {
			err = export()
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// unknownOption tells whether a command refused an option because it has none of that
// name, as urfave/cli says it.
func unknownOption(err error, name string) bool {
	var said *saidError
	return errors.As(err, &said) && strings.HasSuffix(said.reason, "flag provided but not defined: -"+name)
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
