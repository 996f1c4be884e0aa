//go:build engine

package builder

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A project whose one step runs a shell command, for what surrounds steps.
func step(t *testing.T, mount, command string) string {
	t.Helper()
	return project(t, map[string]string{"Dockerfile": "FROM toolchain\nRUN " + mount + " " + command + "\n"})
}

// runStep runs the command as a step and returns what it prints. The build fails
// after it: there is no firmware.
func runStep(t *testing.T, mount, command string, r Request) string {
	t.Helper()
	r.Path, r.Progress, r.NoCache = step(t, mount, command+" && exit 3"), "plain", true
	_, said, err := run(t, r)
	if err == nil || !strings.Contains(err.Error(), "exit code: 3") {
		t.Fatalf("error %v\n%s", err, said)
	}
	return said
}

func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name, command string
		request       Request
		want          []string
	}{
		{"hosts", "cat /etc/hosts", Request{Steps: Steps{AddHosts: []string{"gate:10.1.2.3"}}}, []string{"10.1.2.3", "gate"}},
		{"no network", "cat /proc/net/dev | wc -l", Request{Steps: Steps{Network: "none"}}, []string{" 3\n"}}, // two lines of heading, lo
		{"limits", "ulimit -Sn; ulimit -Hn", Request{Steps: Steps{ULimits: []string{"nofile=123:456"}}}, []string{" 123\n", " 456\n"}},
		{"shared memory", "df -k /dev/shm", Request{Steps: Steps{ShmSize: "2m"}}, []string{" 2048 "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := runStep(t, "", c.command, c.request)
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("said %q, want %q", said, want)
				}
			}
		})
	}
}

// A secret reaches the step that mounts it, and nothing else: not an image, not the
// cache, not the history of builds.
func TestSecret(t *testing.T) {
	const secret = "pAsSw0rd-that-nobody-may-find"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_OF_TEST", secret)
	for _, flag := range []string{"id=token,src=" + file, "type=env,id=token,env=SECRET_OF_TEST"} {
		said := runStep(t, "--mount=type=secret,id=token", "sha256sum /run/secrets/token && wc -c </run/secrets/token", Request{Secrets: []string{flag}})
		if !strings.Contains(said, " 29\n") || strings.Contains(said, secret) {
			t.Errorf("%s: said %q", flag, said)
		}
	}
	err := filepath.WalkDir(stateDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
