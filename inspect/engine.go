package inspect

import (
	"context"
	"os/exec"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/image/engine"
)

// inDocker reports whether Docker answers and has the image.
func inDocker(ctx context.Context, name string) bool {
	return exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", "--", name).Run() == nil
}

func inspectEngine(ctx context.Context, s source) ([]Image, error) {
	f, err := engine.Save(ctx, string(s.kind), s.name)
	if err != nil {
		return nil, err
	}
	l, err := image.OpenArchive(f, s.name)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return inspectImages(l, s.selection)
}
