package builder

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/client/llb"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
)

// sources are the places that a build reads from.
type sources struct {
	attrs  map[string]string        // context:NAME for the front end
	mounts map[string]fsutil.FS     // folders of this machine
	stores map[string]content.Store // OCI layouts of this machine
	inputs map[string]llb.State     // files that are on no disk
	// cleanup closes and removes what was opened and made
	cleanup []func()
}

func newSources() *sources {
	return &sources{
		attrs:  map[string]string{},
		mounts: map[string]fsutil.FS{},
		stores: map[string]content.Store{},
		inputs: map[string]llb.State{},
	}
}

func (s *sources) close() {
	for _, f := range s.cleanup {
		f()
	}
}

// mount gives the front end a folder of this machine under name.
func (s *sources) mount(name, folder string) error {
	switch info, err := os.Stat(folder); {
	case err != nil:
		return fmt.Errorf("%s: %w", folder, reason(err))
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", folder)
	}
	f, err := fsutil.NewFS(folder)
	if err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	s.mounts[name] = f
	return nil
}

// mountEmpty gives the front end a folder without files under name.
func (s *sources) mountEmpty(name string) error {
	folder, err := os.MkdirTemp("", "hybrid-empty-")
	if err != nil {
		return err
	}
	s.cleanup = append(s.cleanup, func() { _ = os.Remove(folder) })
	return s.mount(name, folder)
}

// add adds a named context, NAME=SOURCE in buildx's grammar.
func (s *sources) add(flag string) error {
	name, source, ok := strings.Cut(flag, "=")
	name = strings.ToLower(name)
	if !ok || name == "" || source == "" {
		return usageErrorf("--build-context %q: want NAME=SOURCE", flag)
	}
	if _, ok := s.attrs["context:"+name]; ok {
		return usageErrorf("--build-context %s is given twice", name)
	}
	scheme, rest, _ := strings.Cut(source, "://")
	switch {
	case scheme == "oci-layout":
		ref, err := s.layout(rest)
		if err != nil {
			return fmt.Errorf("--build-context %s: %w", name, err)
		}
		s.attrs["context:"+name] = "oci-layout://" + ref
	case scheme == "docker-image", scheme == "http", scheme == "https", scheme == "git", scheme == "ssh",
		strings.HasPrefix(source, "git@"):
		s.attrs["context:"+name] = source
	case source != scheme:
		return usageErrorf("--build-context %s: unknown kind %s://, want docker-image://, oci-layout://, a URL or a folder", name, scheme)
	default:
		if err := s.mount(name, source); err != nil {
			return fmt.Errorf("--build-context %s: %w", name, err)
		}
		s.attrs["context:"+name] = "local:" + name
	}
	return nil
}

// has reports whether there is a named context name.
func (s *sources) has(name string) bool { _, ok := s.attrs["context:"+name]; return ok }

// layout opens the OCI layout FOLDER[:TAG][@DIGEST] and returns the reference that
// the front end wants, which always has a digest.
func (s *sources) layout(ref string) (string, error) {
	folder, dgst, hasDigest := strings.Cut(ref, "@")
	var tag string
	if _, err := os.Stat(folder); err != nil {
		if i := strings.LastIndexByte(folder, ':'); i > strings.LastIndexByte(folder, '/') {
			folder, tag = folder[:i], folder[i+1:]
		}
	}
	l, err := openLayout(folder)
	if err != nil {
		return "", err
	}
	s.cleanup = append(s.cleanup, func() { _ = l.Close() })
	if !hasDigest {
		d, err := l.digest(tag)
		if err != nil {
			return "", err
		}
		dgst = d.String()
	} else if err := digest.Digest(dgst).Validate(); err != nil {
		return "", fmt.Errorf("%s: %w", ref, err)
	}
	id := fmt.Sprintf("layout%d", len(s.stores))
	s.stores[id] = l
	return id + "@" + dgst, nil
}

// input gives the front end the files of tree as the named context name. They
// travel with the build's definition, so they need no folder, and the cache knows
// them by content.
func (s *sources) input(name string, tree fs.FS) error {
	state, err := stateOf(tree)
	if err != nil {
		return fmt.Errorf("context %s: %w", name, err)
	}
	s.inputs[name] = state
	s.attrs["context:"+name] = "input:" + name
	return nil
}

// created is the time of files that are made here: their cache key must not change.
var created = llb.WithCreatedTime(time.Unix(0, 0))

// stateOf is the files of tree as one file operation.
func stateOf(tree fs.FS) (llb.State, error) {
	var action *llb.FileAction
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
		case d.IsDir() && action == nil:
			action = llb.Mkdir(path.Join("/", name), 0o755, created)
		case d.IsDir():
			action = action.Mkdir(path.Join("/", name), 0o755, created)
		default:
			text, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			if action == nil {
				action = llb.Mkfile(path.Join("/", name), 0o644, text, created)
			} else {
				action = action.Mkfile(path.Join("/", name), 0o644, text, created)
			}
		}
		return nil
	})
	if err != nil || action == nil {
		return llb.Scratch(), err
	}
	return llb.Scratch().File(action, llb.WithCustomName("[internal] load sources of hybrid")), nil
}

// single is a tree of one file.
func single(name string, text []byte) llb.State {
	return llb.Scratch().File(llb.Mkfile(path.Join("/", name), 0o644, text, created),
		llb.WithCustomName("[internal] load build definition from "+name))
}

// sharedKey tells BuildKit that two builds read the same folder, so that the
// second transfers only what changed.
func sharedKey(folder string) string {
	abs, err := filepath.Abs(folder)
	if err != nil {
		abs = folder
	}
	sum := sha256.Sum256([]byte(abs))
	return hex.EncodeToString(sum[:])
}
