package builder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session/upload/uploadprovider"
	"github.com/moby/buildkit/util/archiveutil"
)

// fromStdin is the PATH that means standard input.
const fromStdin = "-"

// archiveHead is how many bytes tell a tar archive from a Dockerfile: a tar header.
const archiveHead = 512

// origin is where the build context comes from: a folder of this machine, or what
// BuildKit fetches.
type origin struct {
	folder string   // of this machine; "": none
	url    string   // of a Git repository, a tar archive or a Dockerfile
	spool  *os.File // a tar archive from standard input
	text   []byte   // a Dockerfile from standard input; the context is empty
}

// origin finds out what PATH is, as docker build does. What is a folder here is a
// folder, whatever else its name may mean.
func (r *Request) origin() (*origin, error) {
	if r.Path == fromStdin {
		if r.Dockerfile == fromStdin {
			return nil, usageErrorf("standard input is either the context or the Dockerfile: PATH and --file are both -")
		}
		return readOrigin(r.Stdin)
	}
	info, err := os.Stat(r.Path)
	switch {
	case err == nil && info.IsDir():
		return &origin{folder: r.Path}, nil
	case err == nil:
		return nil, fmt.Errorf("%s is not a folder: name the folder with the firmware's sources", r.Path)
	case isRemote(r.Path):
		return &origin{url: r.Path}, nil
	}
	return nil, fmt.Errorf("%s: %w", r.Path, reason(err))
}

// isRemote reports whether BuildKit can fetch a context from name.
func isRemote(name string) bool {
	if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
		return true
	}
	_, isGit, err := dfgitutil.ParseGitRef(name)
	return isGit && err == nil
}

func readOrigin(stdin io.Reader) (*origin, error) {
	in := bufio.NewReaderSize(stdin, archiveHead)
	head, err := in.Peek(archiveHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	if !archiveutil.IsArchive(head) {
		if len(head) == 0 {
			return nil, errors.New("standard input is empty: want a Dockerfile or a tar archive")
		}
		text, err := readText(in)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return &origin{text: text}, nil
	}
	// a file, because each of several targets reads it
	spool, err := os.CreateTemp("", "hybrid-context-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(spool.Name()) // gone with the process, whatever happens
	if _, err := io.Copy(spool, in); err != nil {
		spool.Close()
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return &origin{spool: spool}, nil
}

func (o *origin) close() {
	if o.spool != nil {
		o.spool.Close()
	}
}

// upload offers the archive from standard input to one build, under a URL that only
// its session knows.
func (o *origin) upload() (url string, _ *uploadprovider.Uploader) {
	up := uploadprovider.New()
	return up.Add(io.NopCloser(io.NewSectionReader(o.spool, 0, 1<<62))), up
}

// fetched is a context that BuildKit has fetched.
type fetched struct {
	state llb.State
	root  rootFS
	// dockerfile is set if what was fetched is one file that is no archive.
	dockerfile []byte
}

// fetch has BuildKit fetch the context at url.
func fetch(ctx context.Context, gw gateway.Client, url string, buildArgs map[string]string) (*fetched, error) {
	var keepGit *bool
	if keep, err := strconv.ParseBool(buildArgs["BUILDKIT_CONTEXT_KEEP_GIT_DIR"]); err == nil {
		keepGit = &keep
	}
	git, isGit, err := dockerui.DetectGitContext(url, keepGit)
	if isGit {
		if err != nil {
			return nil, fmt.Errorf("context %s: %w", url, err)
		}
		root, err := solveState(ctx, gw, *git)
		return &fetched{state: *git, root: root}, err
	}
	file, name, ok := dockerui.DetectHTTPContext(url)
	if !ok {
		return nil, fmt.Errorf("context %s: want the URL of a Git repository or of a tar archive", url)
	}
	root, err := solveState(ctx, gw, *file)
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", url, err)
	}
	head, err := root.ReadFile(ctx, gateway.ReadRequest{Filename: name, Range: &gateway.FileRange{Length: archiveHead}})
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", url, err)
	}
	if !archiveutil.IsArchive(head) {
		text, err := root.ReadFile(ctx, gateway.ReadRequest{Filename: name})
		if err == nil {
			text, err = readText(bytes.NewReader(text))
		}
		if err != nil {
			return nil, fmt.Errorf("context %s: %w", url, err)
		}
		return &fetched{state: *file, dockerfile: text}, nil // the context is that file, as for docker build
	}
	state := llb.Scratch().File(llb.Copy(*file, path.Join("/", name), "/", &llb.CopyInfo{AttemptUnpack: true}),
		llb.WithCustomName("[internal] unpack build context"))
	root, err = solveState(ctx, gw, state)
	return &fetched{state: state, root: root}, err
}

// solveState has BuildKit make a state.
func solveState(ctx context.Context, gw gateway.Client, state llb.State) (gateway.Reference, error) {
	def, err := state.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	result, err := gw.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB(), Evaluate: true})
	if err != nil {
		return nil, err
	}
	return result.SingleRef()
}
