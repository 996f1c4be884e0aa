//go:build engine

package builder

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	ggcr "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/crypto/ssh/agent"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
	"github.com/hybrid-containers/hybrid/image"
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
		{"network of the host", "ls /sys/class/net | wc -l", Request{Steps: Steps{Network: "host"}}, []string{"\n"}},
		{"no network", "cat /proc/net/dev | wc -l", Request{Steps: Steps{Network: "none"}}, []string{" 3\n"}}, // two lines of heading, lo
		{"limits", "ulimit -Sn; ulimit -Hn", Request{Steps: Steps{ULimits: []string{"nofile=123:456"}}}, []string{" 123\n", " 456\n"}},
		{"memory", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true", Request{Steps: Steps{Resources: []string{"memory=64m"}}}, []string{" 67108864\n"}},
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

// What a step may do beyond the usual must be allowed by name.
func TestAllow(t *testing.T) {
	const mount, command = "--security=insecure", "grep CapEff /proc/self/status && exit 3"
	dir := step(t, mount, command)
	if _, _, err := run(t, Request{Path: dir}); err == nil || !strings.Contains(err.Error(), "security.insecure is not allowed") {
		t.Errorf("without --allow: %v", err)
	}
	_, said, err := run(t, Request{Path: dir, Progress: "plain", Steps: Steps{Allow: []string{"security.insecure"}}})
	if err == nil || !strings.Contains(err.Error(), "exit code: 3") || !strings.Contains(said, "CapEff:") {
		t.Errorf("with --allow: %v\n%s", err, said)
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

// loopback serves a registry without certificate, as host:port.
func loopback(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// A cache that one build leaves, in a folder or a registry, spares another state
// folder the compiling. A cache folder that is not there yet is no mistake.
func TestCaches(t *testing.T) {
	host, dir := loopback(t), t.TempDir()
	for _, to := range []string{"type=local,mode=max,dest=" + dir + "/cache", "type=registry,mode=max,ref=" + host + "/cache"} {
		_, said, err := run(t, Request{Path: hello, CacheFrom: []string{"type=local,src=" + dir + "/none"}, CacheTo: []string{to}})
		if err != nil {
			t.Fatalf("%s: %v\n%s", to, err, said)
		}
	}
	for _, from := range []string{"type=local,src=" + dir + "/cache", host + "/cache"} {
		_, said, err := run(t, Request{
			Path: hello, Progress: "plain", CacheFrom: []string{from}, BuildKit: buildkit.Options{StateDir: t.TempDir()},
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if strings.Contains(said, "CC      hello_world.elf") || !strings.Contains(said, "importing cache manifest from") {
			t.Errorf("%s: compiled again:\n%s", from, said)
		}
	}
}

// Every core of a packed image starts from the cache, not the first alone.
func TestCachesOfPacked(t *testing.T) {
	cache := t.TempDir() + "/cache"
	_, said, err := run(t, Request{Path: hello, Targets: twoTargets, Pack: true, CacheTo: []string{"type=local,mode=max,dest=" + cache}})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	_, said, err = run(t, Request{
		Path: hello, Targets: twoTargets, Pack: true, Progress: "plain", CacheFrom: []string{"type=local,src=" + cache},
		BuildKit: buildkit.Options{StateDir: t.TempDir()},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if strings.Contains(said, "CC      hello_world.elf") {
		t.Errorf("compiled again:\n%s", said)
	}
}

func TestNoCacheFilter(t *testing.T) {
	_, said, err := run(t, Request{Path: hello})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for stage, again := range map[string]bool{"build": true, "toolchain": false} {
		_, said, err := run(t, Request{Path: hello, Progress: "plain", NoCacheFilter: []string{stage}})
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if got := strings.Contains(said, "CC      hello_world.elf"); got != again {
			t.Errorf("stage %s: compiled again: %v, want %v\n%s", stage, got, again, said)
		}
	}
}

func TestCompression(t *testing.T) {
	for compression, want := range map[string]string{
		"gzip": v1.MediaTypeImageLayerGzip, "zstd": v1.MediaTypeImageLayerZstd, "uncompressed": v1.MediaTypeImageLayer, "estargz": v1.MediaTypeImageLayerGzip,
	} {
		file := t.TempDir() + "/a.tar"
		_, said, err := run(t, Request{Path: hello, Outputs: []string{"type=oci,force-compression=true,compression=" + compression + ",dest=" + file}})
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if got := only(t, file).Manifest.Layers[0].MediaType; got != want {
			t.Errorf("%s: layer of type %s, want %s", compression, got, want)
		}
	}
	file := t.TempDir() + "/docker.tar"
	if _, said, err := run(t, Request{Path: hello, Outputs: []string{"type=docker,oci-mediatypes=false,dest=" + file}}); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if got := only(t, file).Manifest.MediaType; got != "application/vnd.docker.distribution.manifest.v2+json" {
		t.Errorf("manifest of type %s", got)
	}
}

// attestations are the predicates that a layout attests, by type.
func attestations(t *testing.T, layout string) map[string]string {
	t.Helper()
	var index v1.Index
	read := func(name string, v any) {
		text, err := os.ReadFile(filepath.Join(layout, name))
		if err == nil {
			err = json.Unmarshal(text, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	blob := func(d v1.Descriptor) string { return "blobs/sha256/" + d.Digest.Encoded() }
	read("index.json", &index)
	for len(index.Manifests) == 1 && index.Manifests[0].MediaType == v1.MediaTypeImageIndex {
		var inner v1.Index
		read(blob(index.Manifests[0]), &inner)
		index = inner
	}
	found := map[string]string{}
	for _, d := range index.Manifests {
		if !image.IsAttestation(d.Annotations) {
			continue
		}
		var manifest v1.Manifest
		read(blob(d), &manifest)
		for _, layer := range manifest.Layers {
			text, err := os.ReadFile(filepath.Join(layout, blob(layer)))
			if err != nil {
				t.Fatal(err)
			}
			found[layer.Annotations["in-toto.io/predicate-type"]] = string(text)
		}
	}
	return found
}

func TestProvenance(t *testing.T) {
	for value, want := range map[string]int{"": 0, "false": 0, "true": 1, "mode=min": 1, "mode=max": 1} {
		layout := t.TempDir() + "/layout"
		_, said, err := run(t, Request{Path: hello, Provenance: value, Annotations: []string{"manifest:a=b"}, Outputs: []string{"type=oci,tar=false,dest=" + layout}})
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		found := attestations(t, layout)
		if len(found) != want {
			t.Errorf("%q: attests %v", value, found)
		}
		for _, text := range found {
			if strings.Contains(text, "make -C /src") != (value != "mode=min") {
				t.Errorf("%q: %d bytes of provenance", value, len(text))
			}
		}
		// attested or not, the image is annotated
		i := only(t, layout)
		checkImage(t, i, image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, "/hello_world.elf")
		if i.Manifest.Annotations["a"] != "b" {
			t.Errorf("%q: annotations %v", value, i.Manifest.Annotations)
		}
	}
}

// scanner pushes an image that scans for an SBOM as BuildKit asks it to
// (docs/attestations/sbom-protocol.md), and says no more than what it was given.
func scanner(t *testing.T, host string) string {
	t.Helper()
	dir := project(t, map[string]string{"main.go": `package main

import "os"

func main() {
	name := os.Getenv("BUILDKIT_SCAN_DESTINATION") + "/sbom.spdx.json"
	found, err := os.ReadDir(os.Getenv("BUILDKIT_SCAN_SOURCE"))
	if err != nil || len(found) != 1 {
		panic(err)
	}
	statement := "{\"_type\":\"https://in-toto.io/Statement/v0.1\",\"predicateType\":\"https://spdx.dev/Document\",\"predicate\":{\"name\":\"" + found[0].Name() + "\"}}"
	if err := os.WriteFile(name, []byte(statement), 0o644); err != nil {
		panic(err)
	}
}
`})
	build := exec.Command("go", "build", "-o", "scan", "main.go")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "scan"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, folder := range []string{"tmp/"} {
		if err := w.WriteHeader(&tar.Header{Name: folder, Mode: 0o777, Typeflag: tar.TypeDir}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: "scan", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.ConfigFile(img, &ggcr.ConfigFile{OS: "linux", Architecture: "amd64", Config: ggcr.Config{Cmd: []string{"/scan"}}, RootFS: mustConfig(t, img).RootFS}); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host + "/scanner:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

func mustConfig(t *testing.T, img ggcr.Image) *ggcr.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSBOM(t *testing.T) {
	generator := scanner(t, loopback(t))
	layout := t.TempDir() + "/layout"
	_, said, err := run(t, Request{Path: hello, SBOM: "generator=" + generator, Outputs: []string{"type=oci,tar=false,dest=" + layout}})
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	found := attestations(t, layout)
	if text := found["https://spdx.dev/Document"]; len(found) != 1 || !strings.Contains(text, "hello_world.elf") {
		t.Errorf("attests %v", found)
	}
}

// --pull asks the registry again for a base image, and not without it.
func TestPull(t *testing.T) {
	host := loopback(t)
	generator := scanner(t, host) // any image will do
	said := func(pull bool) string {
		_, said, err := run(t, Request{
			Path:   project(t, map[string]string{"Dockerfile": fmt.Sprintf("FROM %s\nLABEL board=qemu-virt\n", generator)}),
			Pull:   pull,
			Target: image.Target{Board: "qemu-virt"}, Progress: "plain",
		})
		if err == nil || !strings.Contains(err.Error(), "wrong machine") {
			t.Fatalf("error %v\n%s", err, said)
		}
		return said
	}
	for _, pull := range []bool{false, true} {
		if text := said(pull); !strings.Contains(text, "load metadata for "+generator) {
			t.Errorf("pull %v: said %s", pull, text)
		}
	}
}

// An SSH agent of this machine answers to the step that mounts it.
func TestSSH(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: key, Comment: "the key of the test"}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() { _ = agent.ServeAgent(keys, conn); conn.Close() }()
		}
	}()
	// asks for the identities (draft-miller-ssh-agent, message 11), as ssh-add -l does
	const ask = `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ENV{SSH_AUTH_SOCK})) or die $!; ` +
		`syswrite(S, pack("NC", 1, 11)); while ($a !~ /test/ && sysread(S, $b, 4096)) { $a .= $b } print $a =~ /(the key of the test)/ ? "found $1\n" : "nothing\n"'`
	for _, flag := range []string{"default=" + socket, "other=" + socket} {
		mount := "--mount=type=ssh"
		if strings.HasPrefix(flag, "other") {
			mount += ",id=other"
		}
		if said := runStep(t, mount, ask, Request{SSH: []string{flag}}); !strings.Contains(said, "found the key of the test") {
			t.Errorf("%s: said %s", flag, said)
		}
	}
}
