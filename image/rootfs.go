package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Limits of paths, which are those of Linux but for the last.
const (
	maxPath  = 4096       // bytes of a path
	maxName  = 255        // bytes of one of its names
	maxLinks = 40         // symbolic links on the way
	maxSteps = 20_000_000 // names looked up in an image: some seconds
)

// rootFS is the root file system that the layers of an image make, without the
// content of its files.
type rootFS struct {
	root  *node
	nodes int
	steps int
}

// node is a name and its file.
type node struct {
	typ         byte             // tar's
	kids        map[string]*node // of a folder
	link        string           // of a symbolic link
	size        int64            // of a regular file
	from, entry int              // the layer, and the entry of it, with the content
	layer       int              // the last one that has the name, or made it on the way to another
}

func newRootFS() *rootFS { return &rootFS{root: &node{typ: tar.TypeDir}} }

// Prefixes of whiteouts (image-spec, layer.md).
const (
	whiteout   = ".wh."
	whiteoutAU = ".wh..wh." // of aufs itself, but for the opaque one
	opaque     = ".wh..wh..opq"
)

// add applies entry number n of a layer.
func (r *rootFS) add(layer, n int, h *tar.Header) error {
	if len(h.Name) > maxPath || len(h.Linkname) > maxPath {
		return limitErrorf("entry %d: a path of more than %d bytes", n+1, maxPath)
	}
	name := path.Clean("/" + h.Name)
	if err := r.apply(layer, n, name, h); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (r *rootFS) apply(layer, n int, name string, h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if name == "/" {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the root of an image is a folder")
		}
		return nil
	}
	dir, base := path.Split(name)
	if hidden, ok := strings.CutPrefix(base, whiteout); ok {
		switch {
		case base == opaque:
			return r.hide(layer, dir, "")
		case strings.HasPrefix(base, whiteoutAU):
			return nil
		case hidden == "", hidden == ".", hidden == "..":
			return errors.New("a whiteout of nothing")
		}
		return r.hide(layer, dir, hidden)
	}
	parent, err := r.lookup(dir, true, layer)
	if err != nil {
		return err
	}
	if parent.typ != tar.TypeDir {
		return errNotDir
	}
	made := &node{typ: h.Typeflag, layer: layer, from: layer, entry: n}
	switch h.Typeflag {
	case tar.TypeDir:
		if old := parent.kids[base]; old != nil && old.typ == tar.TypeDir {
			old.layer = layer
			return nil
		}
	case tar.TypeSymlink:
		made.link = h.Linkname
	case tar.TypeLink:
		target, err := r.lookup(path.Clean("/"+h.Linkname), false, never)
		if err != nil {
			return fmt.Errorf("hard link to %s: %w", h.Linkname, err)
		}
		if target.typ == tar.TypeDir {
			return fmt.Errorf("hard link to %s, which is a folder", h.Linkname)
		}
		*made = *target
		made.layer = layer
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		made.typ, made.size = tar.TypeReg, h.Size
	}
	return r.put(parent, base, made)
}

func (r *rootFS) put(parent *node, name string, child *node) error {
	if len(name) > maxName {
		return limitErrorf("a name of more than %d bytes", maxName)
	}
	if parent.kids[name] == nil {
		if r.nodes++; r.nodes > maxEntries {
			return limitErrorf("more than %d files", maxEntries)
		}
	}
	if parent.kids == nil {
		parent.kids = map[string]*node{}
	}
	parent.kids[strings.Clone(name)] = child // not all of the entry's path
	return nil
}

// hide removes what lower layers have under a name of a folder, or all of them.
func (r *rootFS) hide(layer int, dir, name string) error {
	folder, err := r.lookup(dir, true, never)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && folder.typ != tar.TypeDir) {
		return nil
	}
	if err != nil {
		return err
	}
	if name == "" {
		r.prune(layer, folder)
	} else if child := folder.kids[name]; child != nil && !r.prune(layer, child) {
		delete(folder.kids, name)
	}
	return r.exhausted()
}

// prune removes what lower layers have put below n; it reports whether n has to stay
// because the layer itself has it, or something below it.
func (r *rootFS) prune(layer int, n *node) bool {
	r.steps++
	for name, child := range n.kids {
		if r.exhausted() == nil && !r.prune(layer, child) {
			delete(n.kids, name)
		}
	}
	return n.layer == layer || len(n.kids) > 0
}

// exhausted ends what would take too long.
func (r *rootFS) exhausted() error {
	if r.steps > maxSteps {
		return limitErrorf("more than %d names to look up", maxSteps)
	}
	return nil
}

// never as a layer makes no folders.
const never = -1

var (
	errNotDir = errors.New("not a directory")
	errLoop   = errors.New("too many levels of symbolic links")
)

// lookup walks a path as the kernel does, with the root of the image as /: a link
// leads nowhere else, nor does a "..". follow is for a link that comes last. Missing
// folders are made as parts of the layer make.
func (r *rootFS) lookup(name string, follow bool, make int) (*node, error) {
	if len(name) > maxPath {
		return nil, limitErrorf("a path of more than %d bytes", maxPath)
	}
	way := []*node{r.root} // from the root to where we are, for ".."
	links := 0
	for rest := strings.Split(name, "/"); len(rest) > 0; {
		r.steps++
		if err := r.exhausted(); err != nil {
			return nil, err
		}
		here := way[len(way)-1]
		if here.typ != tar.TypeDir {
			return nil, errNotDir
		}
		next := rest[0]
		rest = rest[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			way = way[:max(1, len(way)-1)]
			continue
		}
		child := here.kids[next]
		switch {
		case child == nil && make == never:
			return nil, fs.ErrNotExist
		case child == nil:
			child = &node{typ: tar.TypeDir, layer: make}
			if err := r.put(here, next, child); err != nil {
				return nil, err
			}
		case child.typ == tar.TypeSymlink && (follow || len(rest) > 0):
			if links++; links > maxLinks {
				return nil, errLoop
			}
			if strings.HasPrefix(child.link, "/") {
				way = way[:1]
			}
			rest = slices.Concat(strings.Split(child.link, "/"), rest)
			continue
		}
		if way = append(way, child); len(way) > maxPath/2 {
			return nil, limitErrorf("a path of more than %d bytes", maxPath)
		}
	}
	return way[len(way)-1], nil
}

// kind is what people call the type of a file.
func (n *node) kind() string {
	switch n.typ {
	case tar.TypeReg:
		return "a regular file"
	case tar.TypeDir:
		return "a folder"
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a fifo"
	}
	return fmt.Sprintf("of tar's type %q", n.typ)
}
