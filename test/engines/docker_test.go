//go:build engine

package engines

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/test/daemons"
	"github.com/hybrid-containers/hybrid/test/fixture"
)

// quay is a Docker Engine with the images of the tests.
type quay struct {
	place
	docker  *docker
	dir     string
	restart func(t *testing.T) // the engine
}

// dockers wants each release of Docker to show something.
func dockers(t *testing.T, releases map[string]dockerRelease, config map[string]any, show func(t *testing.T, q *quay)) {
	bin, images := built(t), images(t)
	for name, r := range releases {
		t.Run(name, func(t *testing.T) {
			d, dir := ground(t)
			daemon := r.daemon(t, d, dir, bin, config)
			q := &quay{docker: r.client(t, daemon, dir, "hybrid"), dir: dir}
			q.place = place{engine: q.docker, d: d, id: idPrefix + "docker"}
			for _, i := range images {
				q.load(t, i)
			}
			q.restart = func(t *testing.T) {
				t.Helper()
				daemon.Stop(t)
				daemon = r.daemon(t, d, dir, bin, config)
			}
			t.Cleanup(func() { q.forget(q.id) }) // of a test that failed
			show(t, q)
			d.WantIdle(t)
		})
	}
}

var everyDocker = map[string]dockerRelease{"Docker": docker20, "Docker 29": docker29}

// An engine that ends stops its containers, and starts those again that it shall.
func TestDockerRestarts(t *testing.T) {
	dockers(t, everyDocker, nil, func(t *testing.T, q *quay) {
		q.docker.flags = append(q.docker.flags, "--restart", "always")
		before := q.up(t)
		q.restart(t)
		q.runs(t, before)
		if log := q.logs(t, q.id); strings.Count(log, fixture.Greeting) != 2 {
			t.Errorf("the log of two boots says %q", log)
		}
		q.removeForce(t, q.id)
	})
}

// With live-restore firmware runs on while there is no engine, which the next one finds.
func TestDockerLiveRestore(t *testing.T) {
	dockers(t, everyDocker, map[string]any{"live-restore": true}, func(t *testing.T, q *quay) {
		q.docker.network = "none" // the bridge would end with the engine's network, which is a test's
		pid := q.up(t)
		q.restart(t)
		if again := q.runs(t, 0); again != pid {
			t.Errorf("process %d, was %d", again, pid)
		}
		if err := q.d.Server.Core(0).Trace("after the restart\n"); err != nil {
			t.Fatal(err)
		}
		fixture.Eventually(t, func() error {
			if log := q.logs(t, q.id); !strings.Contains(log, "after the restart") {
				return fmt.Errorf("log %q", log)
			}
			return nil
		})
		q.d.Crash()
		q.ends(t, 139)
		q.remove(t, q.id)
	})
}

// Firmware runs where Docker puts an init program before every container's own.
func TestDockerInit(t *testing.T) {
	config := map[string]any{"init": true, "init-path": "/bin/true"} // which is for Linux containers
	dockers(t, everyDocker, config, func(t *testing.T, q *quay) {
		q.up(t)
		var with []string // bundles with it
		err := filepath.WalkDir(q.dir, func(name string, _ fs.DirEntry, err error) error {
			if filepath.Base(name) == "config.json" && err == nil {
				if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), `"/sbin/docker-init"`) {
					with = append(with, name)
				}
			}
			return nil
		})
		if err != nil || len(with) != 1 {
			t.Errorf("bundles with an init: %q, %v", with, err)
		}
		q.stop(t, q.id)
		q.ends(t, 0)
		q.remove(t, q.id)
	})
}

// A compose file has firmware and the Linux container that it works with.
func TestCompose(t *testing.T) {
	dockers(t, map[string]dockerRelease{"Docker 29": docker29}, nil, func(t *testing.T, q *quay) {
		file := filepath.Join(q.dir, "compose.yaml")
		text := fmt.Sprintf(`services:
  firmware:
    image: %s
    runtime: hybrid
    restart: on-failure
    annotations:
      remoteproc.name: remoteproc0
  gateway:
    image: %s
    depends_on: [firmware]
    entrypoint: ["/bin/busybox", "sh", "-c", "echo gateway is up; sleep 1000"]
    stop_signal: SIGKILL
`, imageHello, imageLinux)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		compose := client{
			args: []string{filepath.Join(daemons.Dir(t), "docker-compose"), "--file", file, "--project-name", "hybrid-test"},
			env:  append(q.docker.env, "DOCKER_HOST="+q.docker.args[2]),
		}
		t.Cleanup(func() { compose.try("down", "--timeout", "2") })
		compose.must(t, "up", "--detach")
		q.id = "hybrid-test-firmware-1"
		pid := q.runs(t, 0)
		fixture.Eventually(t, func() error {
			log := compose.must(t, "logs", "--no-color")
			for _, want := range []string{"firmware-1  | " + fixture.Greeting, "gateway-1   | gateway is up"} {
				if !strings.Contains(log, want) {
					return fmt.Errorf("no %q in the log:\n%s", want, log)
				}
			}
			return nil
		})
		if listed := compose.must(t, "ps", "--format", "{{.Service}} {{.State}}"); !strings.Contains(listed, "firmware running\n") {
			t.Errorf("ps: %s", listed)
		}
		q.d.Crash()
		q.runs(t, pid)
		compose.must(t, "stop", "firmware")
		q.ends(t, 0)
		compose.must(t, "down", "--timeout", "2")
		if r := q.docker.try("inspect", q.id); r.code == 0 {
			t.Errorf("after down: %s", r.out)
		}
	})
}
