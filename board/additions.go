package board

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hybrid-containers/hybrid/board/yaml"
)

// AdditionsDir holds the boards that the administrator of a system adds, one a file:
// docs/boards.md.
const AdditionsDir = "/etc/hybrid/boards.d"

// Limits of additions.
const (
	maxAdditions = 200       // files
	maxAddition  = 64 << 10  // bytes of one
	extension    = ".yaml"   // of their names
	wrongEnding  = ".yml"    // that people give them
	maxAddress   = 1<<32 - 1 // of a core
)

// ProblemError is what is wrong with an addition. It is left out; the others count.
type ProblemError struct {
	File string
	Line int // 0 if it is not of one
	Err  error
}

func (e *ProblemError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.File, e.Err)
}

func (e *ProblemError) Unwrap() error { return e.Err }

// add adds the boards of a folder, in the order of their files' names.
func (c *Catalogue) add(dir string) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.problem(dir, err)
		return
	}
	n := 0
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue // an editor's
		}
		switch filepath.Ext(file) {
		case extension:
		case wrongEnding:
			c.problem(file, errors.New("not read: want a name that ends in .yaml"))
			continue
		default:
			continue
		}
		if n++; n > maxAdditions {
			c.problem(dir, fmt.Errorf("more than %d boards: the others are not read", maxAdditions))
			return
		}
		text, err := readAddition(file)
		if err == nil {
			err = c.addBoard(file, text)
		}
		if err != nil {
			c.problem(file, err)
		}
	}
}

func (c *Catalogue) problem(file string, err error) {
	p := &ProblemError{File: file, Err: err}
	var at *yaml.Error
	if errors.As(err, &at) {
		p.Line, p.Err = at.Line, errors.New(at.Reason)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		p.Err = path.Err
	}
	c.problems = append(c.problems, p)
}

// readAddition looks before it opens: a fifo would wait.
func readAddition(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAddition+1))
	if err == nil && len(b) > maxAddition {
		err = fmt.Errorf("more than %d bytes", maxAddition)
	}
	return string(b), err
}

func (c *Catalogue) addBoard(file, text string) error {
	doc, err := yaml.Parse(text)
	if err != nil {
		return err
	}
	b, err := parseAddition(doc)
	if err != nil {
		return err
	}
	b.File = file
	for _, other := range c.boards {
		if other.Compatible[0] == b.Compatible[0] {
			return fmt.Errorf("%s is %s already%s", b.Compatible[0], other.Name(), other.in())
		}
		for _, a := range b.Aliases {
			if slices.Contains(other.Aliases, a) {
				return fmt.Errorf("the name %s is taken by %s (%s)%s", a, other.Name(), other.Compatible[0], other.in())
			}
		}
	}
	c.boards = append(c.boards, b)
	return nil
}

// in says where an addition is.
func (b *Board) in() string {
	if b.File == "" {
		return ""
	}
	return " in " + b.File
}

// fields takes the fields of a mapping; what is not in want, or not of its kind, is an
// error.
func fields(n *yaml.Node, what string, want map[string]func(*yaml.Node) error) error {
	if n.Kind != yaml.Mapping {
		return yaml.Errorf(n.Line, "%s: want KEY: VALUE, have %s", what, n.Kind)
	}
	for _, f := range n.Fields {
		set, ok := want[f.Key]
		if !ok {
			var keys []string
			for k := range want {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			return yaml.Errorf(f.Line, "unknown key %q, want one of %s", f.Key, strings.Join(keys, ", "))
		}
		if err := set(f.Node); err != nil {
			return err
		}
	}
	return nil
}

// text takes a value that check accepts.
func text(key string, to *string, check func(string) error) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.Scalar {
			return yaml.Errorf(n.Line, "%s: want a value, have %s", key, n.Kind)
		}
		if err := check(n.Value); err != nil {
			return yaml.Errorf(n.Line, "%s: %v", key, err)
		}
		*to = n.Value
		return nil
	}
}

// texts takes a list of values, or one.
func texts(key string, to *[]string, check func(string) error) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		items := n.Items
		switch n.Kind {
		case yaml.Scalar:
			items = []*yaml.Node{n}
		case yaml.List:
		default:
			return yaml.Errorf(n.Line, "%s: want a list, have %s", key, n.Kind)
		}
		for _, item := range items {
			var s string
			if err := text(key, &s, check)(item); err != nil {
				return err
			}
			if slices.Contains(*to, s) {
				return yaml.Errorf(item.Line, "%s: %s is there twice", key, s)
			}
			*to = append(*to, s)
		}
		return nil
	}
}

// list takes a list of mappings.
func list(key string, add func(*yaml.Node) error) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.List {
			return yaml.Errorf(n.Line, "%s: want a list, have %s", key, n.Kind)
		}
		for _, item := range n.Items {
			if err := add(item); err != nil {
				return err
			}
		}
		return nil
	}
}

// checkName lets through what is a name in the catalogue, and one part of a path in a
// packed image.
func checkName(s string) error {
	if s == "" || s[0] == '.' || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._+-") != "" {
		return fmt.Errorf("%q: want lower-case letters, digits, or any of . _ + -", s)
	}
	return nil
}

func checkCompatible(s string) error {
	vendor, device, ok := strings.Cut(s, ",")
	if !ok || vendor == "" || device == "" || strings.ContainsAny(s, " \t;") {
		return fmt.Errorf("%q: want VENDOR,DEVICE as the device tree has it; in brackets, in quotes", s)
	}
	return nil
}

func checkText(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("it is empty")
	}
	return nil
}

func checkMCU(s string) error {
	if !KnownMCU(s) {
		return fmt.Errorf("%q: want one of %s", s, strings.Join(MCUs(), ", "))
	}
	return nil
}

func checkPlatform(s string) error {
	if !slices.Contains(Platforms(), s) {
		return fmt.Errorf("%q: want one of %s", s, strings.Join(Platforms(), ", "))
	}
	return nil
}

func parseAddition(doc *yaml.Node) (*Board, error) {
	b := &Board{}
	var name string
	var aliases []string
	err := fields(doc, "a board", map[string]func(*yaml.Node) error{
		"name":       text("name", &name, checkName),
		"aliases":    texts("aliases", &aliases, checkName),
		"compatible": texts("compatible", &b.Compatible, checkCompatible),
		"model":      text("model", &b.Model, checkText),
		"platform":   text("platform", &b.platform, checkPlatform),
		"cores": list("cores", func(n *yaml.Node) error {
			core, err := parseCore(n)
			if err == nil && slices.ContainsFunc(b.Cores, func(c Core) bool { return c.Compatible == core.Compatible }) {
				err = yaml.Errorf(n.Line, "core %s is there twice: one entry is for all that are alike", core.Compatible)
			}
			b.Cores = append(b.Cores, core)
			return err
		}),
	})
	switch {
	case err != nil:
		return nil, err
	case name == "":
		return nil, errors.New("no name")
	case slices.Contains(aliases, name):
		return nil, fmt.Errorf("the alias %s is the name", name)
	case len(b.Compatible) == 0:
		return nil, errors.New("no compatible: the strings of the device tree's root, most specific first")
	case len(b.Cores) == 0:
		return nil, errors.New("no cores: the processors that firmware may be put on")
	}
	b.Aliases = append([]string{name}, aliases...)
	return b, nil
}

// parseCore is a core that the catalogue knows, or another that says what it is.
func parseCore(n *yaml.Node) (Core, error) {
	var compatible, mcu string
	var memory []Region
	err := fields(n, "a core", map[string]func(*yaml.Node) error{
		"compatible": text("compatible", &compatible, checkCompatible),
		"mcu":        text("mcu", &mcu, checkMCU),
		"memory": list("memory", func(n *yaml.Node) error {
			r, err := parseRegion(n)
			if err != nil {
				return err
			}
			for _, other := range memory {
				if r.Start < other.End() && other.Start < r.End() {
					return yaml.Errorf(n.Line, "%s and %s overlap", other.Name, r.Name)
				}
			}
			memory = append(memory, r)
			return nil
		}),
	})
	if err != nil {
		return Core{}, err
	}
	if compatible == "" {
		return Core{}, yaml.Errorf(n.Line, "a core without compatible: that of its node in the device tree")
	}
	core, known := coreOf(compatible)
	switch {
	case !known && mcu == "":
		return Core{}, yaml.Errorf(n.Line, "core %s is not in the catalogue: say its mcu, one of %s", compatible, strings.Join(MCUs(), ", "))
	case !known:
		core = armCore(mcu, compatible, nil)
	case mcu != "" && !SameMCU(mcu, core.MCU):
		return Core{}, yaml.Errorf(n.Line, "core %s is a %s, not a %s", compatible, core.MCU, mcu)
	}
	if memory != nil {
		core.Memory = memory
	}
	return core, nil
}

func parseRegion(n *yaml.Node) (Region, error) {
	var r Region
	kind := RAM.String()
	err := fields(n, "a region of memory", map[string]func(*yaml.Node) error{
		"name":    text("name", &r.Name, checkText),
		"address": number("address", &r.Start),
		"size":    number("size", &r.Size),
		"linux":   number("linux", &r.Linux),
		"kind":    text("kind", &kind, func(s string) error { _, err := parseKind(s); return err }),
	})
	if err != nil {
		return Region{}, err
	}
	switch {
	case r.Size == 0:
		return Region{}, yaml.Errorf(n.Line, "a region of memory without size")
	case r.Start > maxAddress || r.Size > maxAddress+1-r.Start:
		return Region{}, yaml.Errorf(n.Line, "a region of memory beyond 32 bits")
	case r.Name == "":
		r.Name = fmt.Sprintf("%#x", r.Start)
	}
	r.Kind, err = parseKind(kind)
	return r, err
}

func parseKind(s string) (Kind, error) {
	var names []string
	for k := RAM; k <= DDR; k++ {
		if k.String() == s {
			return k, nil
		}
		names = append(names, k.String())
	}
	return 0, fmt.Errorf("%q: want one of %s", s, strings.Join(names, ", "))
}

// number takes an address or a size: 0x20000000, 131072, 128K, 2M, 1G, also with iB.
func number(key string, to *uint64) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		var s string
		if err := text(key, &s, checkText)(n); err != nil {
			return err
		}
		digits := strings.TrimSuffix(s, "iB")
		shift := 0
		if !strings.HasPrefix(digits, "0x") {
			for i, unit := range []string{"K", "M", "G"} {
				if rest, ok := strings.CutSuffix(digits, unit); ok {
					digits, shift = rest, 10*(i+1)
				}
			}
		}
		v, err := strconv.ParseUint(strings.TrimSpace(digits), 0, 64)
		if err != nil || v > (1<<63)>>shift || (shift == 0 && digits != s) {
			return yaml.Errorf(n.Line, "%s: %q: want a number like 0x20000000, 131072 or 128K", key, s)
		}
		*to = v << shift
		return nil
	}
}
