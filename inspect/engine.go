package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/distribution/reference"
)

// saves are the commands by which engines give an image away, as an archive on
// standard output; the image's name comes last.
func saves(kind Kind) []string {
	switch kind {
	case KindContainerd:
		// all platforms: the image is for the board, not for this machine
		return []string{"ctr", "images", "export", "--all-platforms", "-"}
	case KindPodman:
		return []string{"podman", "save", "--format", "oci-archive"}
	}
	return []string{"docker", "save"}
}

// inDocker reports whether Docker answers and has the image.
func inDocker(ctx context.Context, name string) bool {
	return exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", "--", name).Run() == nil
}

func inspectEngine(ctx context.Context, s source) ([]Image, error) {
	f, err := os.CreateTemp("", "hybrid-inspect-*.tar")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if named, err := reference.ParseNormalizedNamed(s.name); err == nil && s.kind == KindContainerd {
		s.name = reference.TagNameOnly(named).String() // containerd knows full names alone
	}
	args := append(saves(s.kind), s.name)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = f, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), lastLine(stderr.String(), err))
	}
	return inspectLayout(f.Name(), s.selection)
}

// lastLine is what a command said last, which is why it failed.
func lastLine(stderr string, err error) error {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return err
}
