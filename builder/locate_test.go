package builder

import (
	"strings"
	"testing"
	"testing/fstest"
)

// In a context that BuildKit has fetched the Dockerfile is looked for as in a folder.
func TestFetchedDockerfile(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	zephyr := memoryFS{fstest.MapFS{"CMakeLists.txt": file("find_package(Zephyr REQUIRED)\n"), "prj.conf": file(""), "src/main.c": file("")}}
	for _, c := range []struct {
		name    string
		fetched fetched
		request Request
		want    string // name of the Dockerfile
		err     string
	}{
		{name: "one file", fetched: fetched{dockerfile: []byte("FROM x")}, want: "Dockerfile"},
		{name: "Dockerfile", fetched: fetched{root: memoryFS{fstest.MapFS{"Dockerfile": file("FROM x")}}}, want: "Dockerfile"},
		{name: "named", fetched: fetched{root: memoryFS{fstest.MapFS{"d/F": file("FROM x"), "Dockerfile": file("")}}}, request: Request{Dockerfile: "d/F"}, want: "F"},
		{name: "named, missing", fetched: fetched{root: zephyr}, request: Request{Dockerfile: "F"}, err: "URL holds no F"},
		{name: "by its files", fetched: fetched{root: zephyr}, want: "zephyr.Dockerfile"},
		{name: "by the flag", fetched: fetched{root: zephyr}, request: Request{SDK: "baremetal"}, want: "baremetal.Dockerfile"},
		{name: "bare metal", fetched: fetched{root: memoryFS{fstest.MapFS{"Makefile": file("include $(SDK)/baremetal.mk\n")}}}, want: "baremetal.Dockerfile"},
		{name: "nothing tells", fetched: fetched{root: memoryFS{fstest.MapFS{"readme": file("")}}}, err: "URL: no Dockerfile, and no file that tells the SDK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.request.Path = "URL"
			d, err := c.request.fetchedDockerfile(t.Context(), &c.fetched)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || d.name != c.want || len(d.text) == 0 {
				t.Errorf("%+v, %v, want %s", d, err, c.want)
			}
		})
	}
}
