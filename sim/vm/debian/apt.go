package debian

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// apt is a root of its own: lists, cache and configuration in one folder.
type apt struct {
	dir      string
	config   string
	suite    string
	progress io.Writer
}

func newApt(ctx context.Context, dir string, source Source, suite string, progress io.Writer) (*apt, error) {
	a := &apt{dir: dir, config: filepath.Join(dir, "apt.conf"), suite: suite, progress: progress}
	for _, sub := range []string{
		"etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d",
		"var/lib/dpkg", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
	} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	// how to reach the network (proxies, certificates) is the machine's business
	acquire, err := a.run(ctx, "", "apt-config", "dump", "--format", `%F "%v";%n`, "Acquire")
	if err != nil {
		return nil, err
	}
	config := acquire + fmt.Sprintf(`
Dir "%[1]s";
Dir::State::status "%[1]s/var/lib/dpkg/status";
APT::Architecture "armhf";
APT::Architectures { "armhf"; };
APT::Sandbox::User "";
Acquire::Languages "none";
APT::Default-Release "%[2]s";
`, dir, suite)
	sources := ""
	for _, s := range slices.Compact([]string{Suite, suite}) {
		sources += fmt.Sprintf("deb [signed-by=%s] %s %s main\n", source.Keyring, source.URI, s)
	}
	for name, text := range map[string]string{
		a.config: config,
		filepath.Join(dir, "var/lib/dpkg/status"):  "",
		filepath.Join(dir, "etc/apt/sources.list"): sources,
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(progress, "reading the package lists of %s %s\n", source.URI, suite)
	_, err = a.run(ctx, a.config, "apt-get", "update", "-q", "--error-on=any")
	return a, err
}

// run runs a program of apt's and returns its output. Its first error line is the
// error.
func (a *apt) run(ctx context.Context, config, program string, args ...string) (string, error) {
	if _, err := exec.LookPath(program); err != nil {
		return "", fmt.Errorf("%s is not installed: the virtual board's Linux is downloaded with Debian's apt", program)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if config != "" {
		cmd.Env = append(cmd.Env, "APT_CONFIG="+config)
	}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		reason := err.Error()
		for line := range strings.Lines(stderr.String()) {
			if strings.HasPrefix(line, "E: ") || program != "apt-get" {
				reason = strings.TrimSpace(line)
				break
			}
		}
		return "", fmt.Errorf("%s %s: %s", program, strings.Join(args, " "), reason)
	}
	return stdout.String(), nil
}

// dependency finds which package with this prefix a package depends on.
func (a *apt) dependency(ctx context.Context, pkg, prefix string) (string, error) {
	out, err := a.run(ctx, a.config, "apt-cache", "depends", "--important", pkg)
	if err != nil {
		return "", err
	}
	for field := range strings.FieldsSeq(out) {
		if strings.HasPrefix(field, prefix) {
			return field, nil
		}
	}
	return "", fmt.Errorf("package %s of %s does not depend on any %s*", pkg, a.suite, prefix)
}

// unpack downloads a package and unpacks it below root.
func (a *apt) unpack(ctx context.Context, pkg, root string) error {
	uris, err := a.run(ctx, a.config, "apt-get", "download", "--print-uris", pkg)
	if err != nil {
		return err
	}
	// 'URI' file size hash
	fields := strings.Fields(uris)
	if len(fields) < 3 {
		return fmt.Errorf("apt-get does not say where %s is: %q", pkg, uris)
	}
	size, _ := strconv.ParseInt(fields[2], 10, 64)
	deb := filepath.Join(a.dir, filepath.Base(fields[1]))

	fmt.Fprintf(a.progress, "downloading %s, %.1f MB\n", pkg, float64(size)/1e6)
	done := a.watch(deb, size)
	_, err = a.run(ctx, a.config, "apt-get", "download", "-q", pkg)
	done()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.progress, "unpacking %s\n", pkg)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	_, err = a.run(ctx, "", "dpkg-deb", "-x", deb, root)
	return err
}

// watch tells every two seconds how much of a file is there, until done is called.
func (a *apt) watch(file string, size int64) (done func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(2 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				if info, err := os.Stat(file); err == nil && size > 0 {
					fmt.Fprintf(a.progress, "%3d %% of %.1f MB\n", 100*info.Size()/size, float64(size)/1e6)
				}
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
