package image

import (
	"archive/tar"
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
)

// Entry is a file of an image.
type Entry struct {
	Name string // absolute
	Size int64
}

// maxWalk bounds how many files of an image are listed: one is what it should have.
const maxWalk = 2000

// Files lists the files of the image as a container would see them, in the order of
// the layers, and how many bytes each layer has without compression. The layers are
// verified.
func (i *Image) Files() (files []Entry, unpacked []int64, err error) {
	root, unpacked, err := i.rootFS()
	if err != nil {
		return nil, nil, err
	}
	type found struct {
		Entry
		*node
	}
	var all []found
	var walk func(dir string, n *node)
	walk = func(dir string, n *node) {
		for name, child := range n.kids {
			if name = path.Join(dir, name); child.typ == tar.TypeDir {
				walk(name, child)
			} else {
				all = append(all, found{Entry{name, child.size}, child})
			}
		}
	}
	walk("/", root.root)
	if len(all) > maxWalk {
		return nil, nil, fmt.Errorf("more than %d files: not a firmware image", maxWalk)
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.layer, b.layer), cmp.Compare(a.entry, b.entry), cmp.Compare(a.Name, b.Name))
	})
	for _, f := range all {
		files = append(files, f.Entry)
	}
	return files, unpacked, nil
}

// rootFS reads and verifies all layers.
func (i *Image) rootFS() (root *rootFS, unpacked []int64, err error) {
	root = newRootFS()
	left := newBudget()
	for n, l := range i.layers {
		entry := 0
		size, err := l.read(i.layout.files, left, func(h *tar.Header, _ io.Reader) error {
			err := root.add(n, entry, h)
			entry++
			return err
		})
		if err != nil {
			return nil, nil, i.inLayer(n, err)
		}
		unpacked = append(unpacked, size)
	}
	return root, unpacked, nil
}

func (i *Image) inLayer(n int, err error) error {
	return fmt.Errorf("layer %d of %d: %w", n+1, len(i.layers), err)
}
