package setup

import (
	"context"

	"github.com/hybrid-containers/hybrid/setup/edit"
)

const dockerConfig = "/etc/docker/daemon.json"

// dockerSettings name a path: Docker before 23.0 knows no other way, and what is since
// takes it too.
func dockerSettings(_ context.Context, o *Options, runtime string) ([]setting, error) {
	all, err := dockerInstalled(o)
	if err != nil {
		return nil, err
	}
	all[0].value = map[string]any{"path": runtime}
	return all, nil
}

func dockerInstalled(o *Options) ([]setting, error) {
	file, err := o.config(Docker, dockerConfig)
	return []setting{{file: file, format: edit.JSON{}, path: []string{"runtimes", RuntimeName}}}, err
}
