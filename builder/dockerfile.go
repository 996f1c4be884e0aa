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
	"github.com/moby/buildkit/frontend/dockerui"

	"github.com/hybrid-containers/hybrid/dockerfiles"
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
	sdk    string // the SDK that one of ours is for
}

// dockerfile finds the request's Dockerfile: the one that is named, else the one in
// the context, else the one of the SDK. It is nil if it is, or may be, in a context
// that BuildKit has yet to fetch.
func (r *Request) dockerfile(o *origin) (*dockerfile, error) {
	switch {
	case r.Dockerfile == fromStdin:
		text, err := readText(r.Stdin)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return &dockerfile{name: dockerui.DefaultDockerfileName, text: text}, nil
	case o.text != nil && r.Dockerfile == "":
		return &dockerfile{name: dockerui.DefaultDockerfileName, text: o.text}, nil
	case o.folder == "" && o.text == nil:
		return nil, nil
	case r.Dockerfile != "":
		return readDockerfile(r.Dockerfile)
	}
	d, err := readDockerfile(filepath.Join(o.folder, dockerui.DefaultDockerfileName))
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	name, err := r.detectSDK(o.folder, os.DirFS(o.folder))
	if err != nil {
		return nil, err
	}
	return sdkDockerfile(name)
}

// sdkDockerfile is the SDK's own, for projects without one.
func sdkDockerfile(name string) (*dockerfile, error) {
	file, text, err := dockerfiles.Lookup(name)
	if err != nil {
		return nil, err
	}
	return &dockerfile{name: file, text: text, ours: true, sdk: name}, nil
}

// readDockerfile reads a file, or a pipe as shells make of <(COMMAND).
func readDockerfile(path string) (*dockerfile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	text, err := readText(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	if !info.Mode().IsRegular() { // it can be read once
		return &dockerfile{name: dockerui.DefaultDockerfileName, text: text}, nil
	}
	return &dockerfile{name: filepath.Base(path), text: text, folder: filepath.Dir(path)}, nil
}

// maxDockerfile bounds a Dockerfile, in bytes: what is longer is something else.
const maxDockerfile = 16 << 20

// errNoText reports a Dockerfile that is none. BuildKit would quote all of it.
var errNoText = errors.New("neither a Dockerfile nor a tar archive")

func readText(in io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxDockerfile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) == 0:
		return nil, errors.New("empty: want a Dockerfile")
	case len(text) > maxDockerfile, bytes.IndexByte(text, 0) >= 0:
		return nil, errNoText
	}
	return text, nil
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
