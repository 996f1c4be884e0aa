package sdk

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

//go:embed all:templates
var templates embed.FS

// Project is a new one, that builds as it stands.
type Project struct {
	Name       string // of the program
	SDK        string
	Board, MCU string // by the catalogue's names
}

// Image is the name of the project's image.
func (p *Project) Image() string { return strings.ToLower(p.Name) }

// programName is what make, CMake and ENTRYPOINT take as a name without quotes, and
// what in lower case can name an image.
var programName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*$`)

// NewProject is the project for a folder: its name becomes the program's.
func NewProject(folder, sdk, board, mcu string) (*Project, error) {
	if err := Known(sdk); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	name := strings.NewReplacer(".", "_", " ", "_").Replace(filepath.Base(abs))
	if !programName.MatchString(name) {
		return nil, fmt.Errorf("%s: the folder's name becomes the program's, which is made of letters, digits and single - or _ between them, a letter first", folder)
	}
	return &Project{Name: name, SDK: sdk, Board: board, MCU: mcu}, nil
}

// ProjectBoards are the boards that a new project of the SDK builds for, in the
// order of the table.
func ProjectBoards(name string) []Board {
	all := Boards(name)
	if name != MCUXpresso {
		return all
	}
	// the project says the chip's name to the compiler, and which UART it has
	return slices.DeleteFunc(all, func(b Board) bool { return b.Device != "MIMX8MM6" })
}

// Write writes the project's files into folder, which must not exist or be empty.
// Either all of them are there afterwards or none.
func (p *Project) Write(folder string) (err error) {
	folder = filepath.Clean(folder)
	entries, err := os.ReadDir(folder)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s is not empty: name a new folder", folder)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	isNew := err != nil
	if isNew {
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, empty(folder))
			if isNew {
				_ = os.Remove(folder)
			}
		}
	}()
	tree, err := fs.Sub(templates, path.Join("templates", p.SDK))
	if err != nil {
		return err
	}
	text, err := p.expand(templates, "templates/hybrid.yaml")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "hybrid.yaml"), text, 0o666); err != nil {
		return err
	}
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		dest := filepath.Join(folder, filepath.FromSlash(name))
		if d.IsDir() {
			return os.Mkdir(dest, 0o777)
		}
		text, err := p.expand(tree, name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o666)
		if path.Ext(name) == ".sh" {
			mode = 0o777
		}
		return os.WriteFile(dest, text, mode)
	})
}

func (p *Project) expand(tree fs.FS, name string) ([]byte, error) {
	t, err := template.New(path.Base(name)).Option("missingkey=error").ParseFS(tree, name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// empty removes what is in a folder.
func empty(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, e.Name())))
	}
	return err
}
