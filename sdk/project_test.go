package sdk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProject(t *testing.T) {
	for _, name := range Names() {
		dir := filepath.Join(t.TempDir(), "my.blink")
		p, err := NewProject(dir, name, "imx8m-mini", "cortex-m4")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Write(dir); err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		tree := os.DirFS(dir)
		if got, err := Detect(tree); got != name || err != nil {
			t.Errorf("%s is taken for %s, %v", name, got, err)
		}
		for _, f := range []string{"Makefile", "CMakeLists.txt", "armgcc/CMakeLists.txt", "hybrid.yaml"} {
			if text, err := os.ReadFile(filepath.Join(dir, f)); err == nil {
				all.Write(text)
			}
		}
		if !strings.Contains(all.String(), "my_blink") || !strings.Contains(all.String(), "name: my_blink\nsdk: "+name+"\ntargets:\n  - imx8m-mini/cortex-m4\n") || strings.Contains(all.String(), "{{") {
			t.Errorf("%s: %s", name, &all)
		}
		if err := p.Write(dir); err == nil || !strings.Contains(err.Error(), "is not empty: name a new folder") {
			t.Errorf("written twice: %v", err)
		}
	}
}

func TestProjectNames(t *testing.T) {
	for _, folder := range []string{"/", "/tmp/1st", "a$b", "/tmp/x\ny", "-a", "a-", "a--b"} {
		if _, err := NewProject(folder, BareMetal, "", ""); err == nil {
			t.Errorf("%q is taken", folder)
		}
	}
	if p, err := NewProject(".", BareMetal, "", ""); err != nil || p.Name != "sdk" { // of this folder
		t.Errorf("%v, %v", p, err)
	}
	if _, err := NewProject("x", "rtos", "", ""); err == nil || !strings.Contains(err.Error(), "there are: baremetal") {
		t.Errorf("%v", err)
	}
}

// What cannot be written whole leaves nothing.
func TestProjectFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blink")
	if err := (&Project{Name: "blink", SDK: "rtos"}).Write(dir); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
	p, err := NewProject(dir, Zephyr, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(dir); err == nil {
		t.Error("a file was taken for a folder")
	}
}
