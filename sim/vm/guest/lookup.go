//go:build linux

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/sim/vm/wire"
)

// failure explains why a command was not started, as shells do.
func failure(req wire.Command, err error) *wire.Failure {
	name := ""
	if len(req.Args) > 0 {
		name = req.Args[0]
	}
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, unix.ENOENT):
		return &wire.Failure{Code: 127, Reason: fmt.Sprintf("%s: %v", name, err)}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENOTDIR):
		return &wire.Failure{Code: 126, Reason: fmt.Sprintf("%s: %v", name, err)}
	}
	return &wire.Failure{Code: 125, Reason: fmt.Sprintf("%s: %v", name, err)}
}

var errNotFound = errors.New("command not found")

// find looks a command up, in the PATH of its own environment. Relative names with
// a slash are relative to dir.
func find(name string, env []string, dir string) (string, error) {
	if name == "" {
		return "", errNotFound
	}
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	var denied error
	for _, d := range filepath.SplitList(path) {
		candidate := filepath.Join(d, name)
		switch err := executable(candidate); {
		case err == nil:
			return candidate, nil
		case errors.Is(err, unix.EACCES):
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", errNotFound
}

func executable(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return errors.Unwrap(err)
	}
	if info.IsDir() {
		return unix.EISDIR
	}
	return unix.Access(name, unix.X_OK)
}
