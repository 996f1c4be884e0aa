package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// Machine is the system that is set up: the folder that stands for its /.
type Machine struct{ Root string }

// folders are where services find programs: systemd's default PATH.
func folders() []string {
	return []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
}

// Service reports whether services find a program in its folder, whatever PATH we have.
func Service(program string) bool { return slices.Contains(folders(), filepath.Dir(program)) }

// Own reports whether it is the machine that we run on.
func (m Machine) Own() bool { return m.Root == "" || filepath.Clean(m.Root) == "/" }

// Path is where a file of the machine is found from here. Links in an image lead to
// files of the image, as they will when it runs.
func (m Machine) Path(name string) (string, error) {
	root := m.Root
	if root == "" {
		root = "/"
	}
	return securejoin.SecureJoin(root, name)
}

// exists reports whether the machine has a file.
func (m Machine) exists(name string) bool {
	path, err := m.Path(name)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// program reports why a file of the machine cannot be run, if it cannot.
func (m Machine) program(name string) error {
	path, err := m.Path(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	var of *fs.PathError
	switch {
	case errors.As(err, &of):
		return of.Err
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return errors.New("not a program")
	}
	return nil
}

// Look finds a program where services of the machine find it, and, if it is our own
// machine, where we do. The name is the machine's.
func (m Machine) Look(name string) (string, error) {
	for _, dir := range folders() {
		if file := filepath.Join(dir, name); m.program(file) == nil {
			return file, nil
		}
	}
	if m.Own() {
		if file, err := exec.LookPath(name); err == nil {
			return filepath.Abs(file)
		}
	}
	return "", fmt.Errorf("%s is not in PATH", name)
}

const runtimeName = "hybrid-runtime"

// findRuntime is the path of hybrid-runtime, as the machine has it.
func (o *Options) findRuntime() (string, error) {
	m := o.Machine
	if file := o.Runtime; file != "" {
		if m.Own() {
			var err error
			if file, err = filepath.Abs(file); err != nil {
				return "", err
			}
		}
		if !filepath.IsAbs(file) {
			return "", fmt.Errorf("--runtime %s: want an absolute path with --root", file)
		}
		if err := m.program(file); err != nil {
			return "", fmt.Errorf("--runtime %s: %w", file, err)
		}
		return file, nil
	}
	return FindRuntime(m)
}

// FindRuntime is the hybrid-runtime beside this program, else the one in PATH.
func FindRuntime(m Machine) (string, error) {
	if m.Own() {
		if self, err := os.Executable(); err == nil {
			if file := filepath.Join(filepath.Dir(self), runtimeName); m.program(file) == nil {
				return file, nil
			}
		}
	}
	file, err := m.Look(runtimeName)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside hybrid-setup nor in PATH (--runtime PATH)", runtimeName)
	}
	return file, nil
}
