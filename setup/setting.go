package setup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"

	"github.com/hybrid-containers/hybrid/setup/edit"
)

// setting is one thing that a configuration file says.
type setting struct {
	file   string // as the machine has it
	format edit.Format
	path   []string
	value  any    // nil: it shall not be there
	begin  string // what a file needs that says nothing yet
	notes  []string
	has    bool // another file, that this one imports, says it already
}

// content is a configuration file as it is, and as it was before us.
type content struct {
	path   string // from here
	text   []byte // nil if there is no file
	doc    map[string]any
	backup []byte // nil if there is none
}

// Change is what becomes of a configuration file.
type Change struct {
	Engine *Engine
	// File is its name on the machine.
	File string
	// Before and After are its texts, nil where there is no file.
	Before, After []byte
	// Backup is the name of what it was before hybrid came, empty if that is not kept.
	Backup string
	// Notes are what should be known besides.
	Notes []string

	path   string
	kept   []byte // the backup that was found; nil: none
	backup []byte // what to keep; nil: nothing
	stale  bool   // a backup is there that shall go
	undoes bool   // another change, just made
}

// Changed reports whether the file becomes another one.
func (c *Change) Changed() bool {
	return !equal(c.Before, c.After)
}

// ConflictError reports a file that says something else already.
type ConflictError struct {
	File, Key string
	Have      any
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s: %s is configured already, as %s (--force replaces it)", e.File, e.Key, e.have())
}

// have is what is configured, in one line.
func (e *ConflictError) have() string {
	text, err := json.Marshal(e.Have)
	if err != nil { // a number that JSON does not have
		return "something else"
	}
	return string(text)
}

// backupSuffix ends the name of what a file was before hybrid came. Engines read no
// such file.
const backupSuffix = ".hybrid-backup"

// read reads the file of a setting.
func (s *setting) read(m Machine) (*content, error) {
	path, err := m.Path(s.file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.file, reason(err))
	}
	f := &content{path: path}
	if f.text, err = readFile(path); err == nil {
		f.backup, err = readFile(path + backupSuffix)
	}
	if err == nil {
		f.doc, err = s.format.Parse(f.text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.file, reason(err))
	}
	return f, nil
}

// reason is an error without the name that a file has from here.
func reason(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// maxConfig bounds what is read: no configuration is that long.
const maxConfig = 4 << 20

// readFile reads a file; the text is nil if there is none, and else not.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > maxConfig:
		return nil, fmt.Errorf("longer than %d bytes", maxConfig)
	}
	text, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it went just now
		return nil, nil
	case err == nil && text == nil:
		text = []byte{}
	}
	return text, err
}

// base is a text with what it needs before a setting can be put in.
func (s *setting) base(text []byte) ([]byte, error) {
	empty := len(bytes.TrimSpace(text)) == 0
	if _, template := s.format.(edit.Template); !empty && !template {
		doc, err := s.format.Parse(text)
		if err != nil {
			return nil, err
		}
		empty = len(doc) == 0
	}
	if s.begin == "" || !empty {
		return text, nil
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		return append(bytes.Clone(text), "\n"+s.begin...), nil
	}
	return append(bytes.Clone(text), s.begin...), nil
}

// with is a text that says value, made of one that may say something else, and what
// was put in for that.
func (s *setting) with(text []byte, value any) ([]byte, edit.Insertion, error) {
	doc, err := s.format.Parse(text)
	if err != nil {
		return nil, edit.Insertion{}, err
	}
	if edit.Get(doc, s.path...) != nil {
		if text, err = edit.Remove(s.format, text, s.path, ""); err != nil {
			return nil, edit.Insertion{}, err
		}
	}
	if text, err = s.base(text); err != nil {
		return nil, edit.Insertion{}, err
	}
	i, err := edit.Insert(s.format, text, s.path, value)
	if err != nil {
		return nil, i, err
	}
	return i.Apply(text), i, nil
}

// install plans to set it.
func (s *setting) install(m Machine, force bool) (*Change, error) {
	if s.value == nil {
		return s.uninstall(m)
	}
	f, err := s.read(m)
	if err != nil {
		return nil, err
	}
	c := &Change{File: s.file, Before: f.text, After: f.text, path: f.path, kept: f.backup, backup: f.backup}
	c.Notes = append(c.Notes, s.notes...)
	have := edit.Get(f.doc, s.path...)
	origin := f.text
	switch {
	case reflect.DeepEqual(have, s.value), have == nil && s.has:
		return c, nil
	case have != nil && !force:
		return nil, &ConflictError{s.file, s.path[len(s.path)-1], have}
	case have != nil:
		r, err := s.revert(f, have)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
		switch {
		case r.exact:
			origin = f.backup // of the one before us
		case f.backup != nil && !r.foreign:
			origin = r.text // it was ours
		}
		f.text = r.text
	}
	if c.After, _, err = s.with(f.text, s.value); err != nil {
		return nil, fmt.Errorf("%s: %w", s.file, err)
	}
	c.stale = f.backup != nil && origin == nil
	if c.backup = origin; origin != nil {
		c.Backup = s.file + backupSuffix
	}
	return c, nil
}

// uninstall plans to take it back.
func (s *setting) uninstall(m Machine) (*Change, error) {
	f, err := s.read(m)
	if err != nil {
		return nil, err
	}
	c := &Change{File: s.file, Before: f.text, After: f.text, path: f.path, kept: f.backup, stale: f.backup != nil}
	have := edit.Get(f.doc, s.path...)
	if have == nil {
		return c, nil
	}
	r, err := s.revert(f, have)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.file, err)
	}
	c.After = r.text
	if !r.exact {
		c.Notes = append(c.Notes, "it was edited since: only what is hybrid's is removed")
	}
	if r.foreign {
		c.stale, c.backup, c.Backup = false, f.backup, s.file+backupSuffix
		c.Notes = append(c.Notes, "what was hybrid's before is in "+c.Backup)
	}
	return c, nil
}

// reverted is a file without the setting.
type reverted struct {
	text    []byte // nil: no file
	exact   bool   // it is what it was before us
	foreign bool   // what was replaced is not put back
}

// revert takes the setting out of a file that says have. If nothing else has changed
// since it was put in, the file is what it was, to the byte.
func (s *setting) revert(f *content, have any) (reverted, error) {
	made, insertion, err := s.with(f.backup, have)
	if err == nil && bytes.Equal(made, f.text) {
		return reverted{text: f.backup, exact: true}, nil
	}
	// without a backup, or with one that does not fit, it is the setting that counts
	text, err := edit.Remove(s.format, f.text, s.path, insertion.Text)
	if err != nil {
		return reverted{}, err
	}
	r := reverted{text: text}
	if f.backup == nil {
		if blank, err := s.base(nil); err == nil && bytes.Equal(bytes.TrimSpace(text), bytes.TrimSpace(blank)) {
			r.text = nil // we made it, and nothing came since
		}
		return r, nil
	}
	doc, err := s.format.Parse(f.backup)
	r.foreign = err == nil && edit.Get(doc, s.path...) != nil
	return r, nil
}
