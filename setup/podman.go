package setup

import (
	"context"
	"fmt"

	"github.com/hybrid-containers/hybrid/setup/edit"
)

// podmanConfig is a file of our own beside podman's, which is read after it and leaves
// that to the distribution.
const (
	podmanConfig = "/etc/containers/containers.conf.d/hybrid.conf"
	podmanMain   = "/etc/containers/containers.conf"
)

func podmanSettings(_ context.Context, o *Options, runtime string) ([]setting, error) {
	all, err := podmanInstalled(o)
	if err != nil {
		return nil, err
	}
	s := &all[0]
	s.value = []any{runtime}
	if s.file == podmanConfig && !o.Force {
		main := *s
		main.file = podmanMain
		f, err := main.read(o.Machine)
		if err != nil {
			return nil, err
		}
		if have := edit.Get(f.doc, s.path...); have != nil && fmt.Sprint(have) != fmt.Sprint(s.value) {
			return nil, &ConflictError{podmanMain, RuntimeName, have}
		}
	}
	return all, nil
}

func podmanInstalled(o *Options) ([]setting, error) {
	file, err := o.config(Podman, podmanConfig)
	return []setting{{file: file, format: edit.TOML{}, path: []string{"engine", "runtimes", RuntimeName}}}, err
}
