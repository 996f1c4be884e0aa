package builder

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/builder/buildkit"
)

func openOutput(t *testing.T, spec string) (*destination, *bytes.Buffer, error) {
	t.Helper()
	o, err := parseOutput(spec, arm64)
	if err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	d, err := (&Request{Path: ".", Stdout: &stdout}).open(t.Context(), o, &buildkit.BuildKit{Kind: buildkit.Embedded})
	return d, &stdout, err
}

func export(t *testing.T, d *destination, text string) {
	t.Helper()
	w, err := d.entry.Output(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestExportFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.tar")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, _, err := openOutput(t, "type=oci,dest="+file)
	if err != nil {
		t.Fatal(err)
	}
	export(t, d, "new")
	if text, err := os.ReadFile(file); err != nil || string(text) != "old" {
		t.Errorf("before the commit the file holds %q, %v", text, err)
	}
	d.abort()
	if got := names(t, dir); got != "a.tar" {
		t.Errorf("after the abort there are %s", got)
	}
	export(t, d, "new")
	if err := d.commit(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "new" || names(t, dir) != "a.tar" {
		t.Errorf("after the commit the file holds %q, %v, beside %s", text, err, names(t, dir))
	}
}

func TestExportFolder(t *testing.T) {
	dir := t.TempDir()
	dest := filepath.Join(dir, "new", "out")
	d, _, err := openOutput(t, "type=oci,tar=false,dest="+dest)
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"blobs", "ingest"} {
		if err := os.MkdirAll(filepath.Join(d.entry.OutputDir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dest); err == nil {
		t.Error("the folder is there before the commit")
	}
	if err := d.commit(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dest); got != "blobs" {
		t.Errorf("the folder holds %s", got)
	}

	// the second export adds to the folder
	if d, _, err = openOutput(t, "type=oci,tar=false,dest="+dest); err != nil {
		t.Fatal(err)
	}
	if d.entry.OutputDir != dest {
		t.Errorf("exports to %s", d.entry.OutputDir)
	}
	d.abort()
	if got := names(t, dest); got != "blobs" {
		t.Errorf("after an abort the folder holds %s", got)
	}
}

func TestExportStdout(t *testing.T) {
	for _, spec := range []string{"type=oci,dest=-", "type=docker,dest=-", "type=oci", "-"} {
		d, stdout, err := openOutput(t, spec)
		if err != nil {
			t.Fatal(err)
		}
		export(t, d, "image")
		if err := d.commit(); err != nil || stdout.String() != "image" {
			t.Errorf("%s: %q, %v", spec, stdout, err)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]string{
		"type=oci,dest=" + dir:                   "is a folder: name a file in it",
		"type=oci,dest=" + dir + "/no/x":         "no such file or directory",
		"type=oci,dest=" + file + "/x":           "file is not a folder",
		"type=local,dest=" + file:                "is not a folder",
		"type=oci,tar=false,dest=" + file + "/x": "not a directory",
	} {
		if _, _, err := openOutput(t, spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", spec, err, want)
		}
	}
	if got := names(t, dir); got != "file" {
		t.Errorf("left behind: %s", got)
	}
}

// fakeDocker puts a docker command of this script in front of PATH.
func fakeDocker(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("DOCKER_HOST", "unix://"+dir+"/nobody.sock") // this machine's is not asked
}

func TestExportDocker(t *testing.T) {
	loaded := filepath.Join(t.TempDir(), "loaded")
	t.Setenv("LOADED", loaded)
	fakeDocker(t, `case "$1" in
version) echo 29.1 ;;
load) cat >"$LOADED"; echo "Loaded image: x" ;;
esac`)
	d, _, err := openOutput(t, "type=docker,name=x")
	if err != nil {
		t.Fatal(err)
	}
	export(t, d, "image")
	if err := d.commit(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(loaded); err != nil || string(text) != "image" || d.note != "Loaded image: x" {
		t.Errorf("loaded %q, %v, note %q", text, err, d.note)
	}

	fakeDocker(t, `case "$1" in
version) echo 29.1 ;;
load) cat >/dev/null; echo "no space left" >&2; exit 1 ;;
esac`)
	if d, _, err = openOutput(t, "type=docker,name=x"); err != nil {
		t.Fatal(err)
	}
	export(t, d, "image")
	if err := d.commit(); err == nil || !strings.Contains(err.Error(), "docker load: exit status 1: no space left") {
		t.Errorf("error %v", err)
	}
	if d, _, err = openOutput(t, "type=docker,name=x"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.entry.Output(nil); err != nil {
		t.Fatal(err)
	}
	d.abort() // waits for the process: a test that hangs here has found a bug
}

func TestExportWithoutDocker(t *testing.T) {
	fakeDocker(t, "echo cannot connect >&2; exit 1")
	t.Chdir(t.TempDir())
	d, _, err := openOutput(t, "type=docker,name=r.io/team/target:v1")
	if err != nil {
		t.Fatal(err)
	}
	export(t, d, "image")
	if err := d.commit(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, "."); got != "target.tar" || !strings.Contains(d.note, "target.tar") {
		t.Errorf("files %s, note %q", got, d.note)
	}
}

func TestArchiveName(t *testing.T) {
	for _, c := range []struct{ image, project, want string }{
		{"docker.io/library/target:latest", "x", "target.tar"},
		{"localhost:5000/a/b:1,c", "x", "b.tar"},
		{"", "/src/hello_world/", "hello_world.tar"},
		{"", "/", "image.tar"},
	} {
		if got := archiveName(c.image, c.project); got != c.want {
			t.Errorf("archiveName(%q, %q) = %s, want %s", c.image, c.project, got, c.want)
		}
	}
}

func TestWriteFiles(t *testing.T) {
	dir := t.TempDir()
	r := &Request{MetadataFile: dir + "/m.json", IIDFile: dir + "/iid"}
	result := &Result{Response: map[string]string{
		"containerimage.config.digest": digestA,
		"containerimage.digest":        digestB,
		"containerimage.descriptor":    "eyJhIjoxfQ==", // {"a":1}
		"image.name":                   "abcd",         // base64 too, but not of JSON
	}}
	if err := r.writeFiles(result); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(r.MetadataFile)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if d, ok := m["containerimage.descriptor"].(map[string]any); !ok || d["a"] != 1.0 || m["image.name"] != "abcd" {
		t.Errorf("metadata %s", text)
	}
	if iid, err := os.ReadFile(r.IIDFile); err != nil || string(iid) != digestA {
		t.Errorf("iidfile %q, %v", iid, err)
	}
	if got := names(t, dir); got != "iid m.json" {
		t.Errorf("left behind: %s", got)
	}
	if err := (&Request{IIDFile: dir + "/no/iid"}).writeFiles(result); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
