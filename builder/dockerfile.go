package builder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/hybrid-containers/hybrid/dockerfiles"
	"github.com/hybrid-containers/hybrid/sdk"
)

// nameArg is the build argument that chooses one of several programs, in our own
// Dockerfiles.
const nameArg = "NAME"

// dockerfile is the Dockerfile of a build.
type dockerfile struct {
	name   string // for messages
	text   []byte
	folder string // where it is; "": on no disk
	ours   bool   // one of package dockerfiles
}

// dockerfile finds the request's Dockerfile: the one that is named, else the one in
// the context, else the one of the SDK.
func (r *Request) dockerfile() (*dockerfile, error) {
	switch r.Dockerfile {
	case "-":
		text, err := io.ReadAll(r.Stdin)
		if err != nil {
			return nil, fmt.Errorf("dockerfile on standard input: %w", err)
		}
		return &dockerfile{name: "Dockerfile", text: text}, nil
	case "":
		d, err := readDockerfile(filepath.Join(r.Path, "Dockerfile"))
		if !errors.Is(err, fs.ErrNotExist) {
			return d, err
		}
	default:
		return readDockerfile(r.Dockerfile)
	}
	name, text, err := dockerfiles.Lookup(r.sdk())
	if err != nil {
		return nil, usageErrorf("--sdk: %w", err)
	}
	return &dockerfile{name: name, text: text, ours: true}, nil
}

func (r *Request) sdk() string {
	if r.SDK == "" {
		return sdk.Default
	}
	return r.SDK
}

func readDockerfile(path string) (*dockerfile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	return &dockerfile{name: filepath.Base(path), text: text, folder: filepath.Dir(path)}, nil
}

// entrypoint is where the Dockerfile says what to run, as NAME:LINE, or just NAME
// if it does not: the base image may.
func (d *dockerfile) entrypoint() string {
	parsed, err := parser.Parse(bytes.NewReader(d.text))
	if err != nil {
		return d.name
	}
	line := 0
	for _, instruction := range parsed.AST.Children {
		switch strings.ToLower(instruction.Value) {
		case "entrypoint":
			line = instruction.StartLine
		case "from":
			line = 0 // of another stage
		}
	}
	if line == 0 {
		return d.name
	}
	return fmt.Sprintf("%s:%d", d.name, line)
}

// reason is an error of the os package without its operation and path, for messages
// that name the path already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
