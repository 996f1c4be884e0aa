package builder

import (
	"errors"
	"maps"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/image"
)

var arm64 = imageForm{platform: v1.Platform{OS: "linux", Architecture: "arm64"}}

func TestParseOutput(t *testing.T) {
	for _, c := range []struct {
		in          string
		kind, dest  string
		folder      bool
		attrs       map[string]string
		annotations annotations
		target      image.Target
	}{
		{
			in:   `type=docker,name=target,annotation[linux/arm64].board=imx8m-mini,mcu=cortex-m4`,
			kind: "docker", attrs: map[string]string{"name": "docker.io/library/target:latest"},
			target: image.Target{Board: "imx8m-mini", MCU: "cortex-m4"},
		},
		{in: "type=oci,dest=a.tar", kind: "oci", dest: "a.tar"},
		{in: "type=oci,dest=a,tar=false", kind: "oci", dest: "a", folder: true, attrs: map[string]string{"tar": "false"}},
		{in: "type=oci,dest=a,tar=true", kind: "oci", dest: "a", attrs: map[string]string{"tar": "true"}},
		{in: " Type=OCI, dest=-", kind: "oci", dest: "-"},
		{in: "type=local,dest=out", kind: "local", dest: "out", folder: true},
		{in: "out", kind: "local", dest: "out", folder: true},
		{in: "-", kind: "tar", dest: "-"},
		{
			in:   `type=image,"name=a/b,localhost:5000/c:1",push=true`,
			kind: "image", attrs: map[string]string{"name": "docker.io/a/b:latest,localhost:5000/c:1", "push": "true"},
		},
		{
			in:   "type=image,push-by-digest=true,name=a.b/c",
			kind: "image", attrs: map[string]string{"name": "a.b/c", "push-by-digest": "true"},
		},
		{in: "type=registry,name=a.b/c", kind: "image", attrs: map[string]string{"name": "a.b/c:latest", "push": "true"}},
		{
			in:   "type=docker,annotation.x=1,annotation-manifest[linux/arm64].y=2,annotation-manifest-descriptor.z=3,annotation.board=b",
			kind: "docker",
			annotations: annotations{
				"annotation-manifest.x": "1", "annotation-manifest.y": "2", "annotation-manifest-descriptor.z": "3",
			},
			target: image.Target{Board: "b"},
		},
		{in: "type=oci,dest=x,remoteproc.name=rproc0", kind: "oci", dest: "x", target: image.Target{Processor: "rproc0"}},
	} {
		t.Run(c.in, func(t *testing.T) {
			o, err := parseOutput(c.in, arm64)
			if err != nil {
				t.Fatal(err)
			}
			if o.kind != c.kind || o.dest != c.dest || o.folder != c.folder || o.target != c.target {
				t.Errorf("%+v", o)
			}
			if !maps.Equal(o.attrs, c.attrs) {
				t.Errorf("attributes %v, want %v", o.attrs, c.attrs)
			}
			if !maps.Equal(o.annotations, c.annotations) {
				t.Errorf("annotations %v, want %v", o.annotations, c.annotations)
			}
		})
	}
}

func TestParseOutputRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "is empty",
		`""`:                          "is empty",
		"dest=x":                      "type is missing",
		"type=doker":                  "did you mean docker?",
		"type=oci,dest":               `got "dest"`,
		"type=oci,=x":                 `got "=x"`,
		`type=oci,"dest=x`:            "quote",
		"type=oci,nam=x":              "did you mean name?",
		"type=oci,bord=x":             "did you mean board?",
		"type=oci,com.example=x":      "annotation.*",
		"type=local,dest=x,name=y":    `type=local has no key "name"`,
		"type=oci,tar=maybe":          "want true or false",
		"type=oci,compression=zst":    "did you mean zstd?",
		"type=oci,source-date-epoch=": "want seconds since 1970",
		"type=oci,tar=false":          "needs dest=FOLDER",
		"type=oci,tar=false,dest=-":   "cannot be a folder",
		"type=local":                  "needs dest=FOLDER",
		"type=image,push=yes!":        "want true or false",
		"type=image,name=UPPER":       "UPPER",
		"type=oci,annotation=x":       "want annotation.KEY",
		"type=oci,annotation-foo.a=x": "unrecognized annotation type foo",
		"type=oci,annotation[linux/amd64].board=x": "the image is built for linux/arm64",
		"type=oci,annotation[zz/zz/zz/zz].a=x":     "annotation[zz/zz/zz/zz].a",
		"type=oci,annotation-index.a=x":            "use annotation.a",
		"type=oci,attest:provenance=false":         `no key "attest:provenance"`,
	} {
		t.Run(in, func(t *testing.T) {
			o, err := parseOutput(in, arm64)
			var usage *UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v, error %v, want %q", o, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
		})
	}
}

func TestParseOutputs(t *testing.T) {
	for _, c := range []struct {
		name    string
		request Request
		want    []output // kind, and name and push in attrs
		err     string
	}{
		{name: "nothing", request: Request{}},
		{
			name: "tag alone", request: Request{Tags: []string{"x"}},
			want: []output{{kind: "docker", attrs: map[string]string{"name": "docker.io/library/x:latest"}}},
		},
		{
			name: "tags name an output", request: Request{Tags: []string{"x:1", "y"}, Outputs: []string{"type=oci,dest=z"}},
			want: []output{{kind: "oci", attrs: map[string]string{"name": "docker.io/library/x:1,docker.io/library/y:latest"}}},
		},
		{
			name: "name wins over tags", request: Request{Tags: []string{"x"}, Outputs: []string{"type=oci,dest=z,name=y"}},
			want: []output{{kind: "oci", attrs: map[string]string{"name": "docker.io/library/y:latest"}}},
		},
		{
			name: "files have no name", request: Request{Tags: []string{"x"}, Outputs: []string{"out"}},
			want: []output{{kind: "local", attrs: map[string]string{}}},
		},
		{
			name: "push by digest", request: Request{Tags: []string{"r.io/x"}, Outputs: []string{"type=registry,push-by-digest=true"}},
			want: []output{{kind: "image", attrs: map[string]string{"name": "r.io/x", "push": "true", "push-by-digest": "true"}}},
		},
		{
			name: "push by digest with a tag", request: Request{Tags: []string{"r.io/x:1"}, Outputs: []string{"type=registry,push-by-digest=true"}},
			err: `push-by-digest: the name "r.io/x:1" has a tag`,
		},
		{name: "two to one file", request: Request{Outputs: []string{"type=oci,dest=a", "type=tar,dest=./a"}}, err: "/a: give each a dest"},
		{name: "two to standard output", request: Request{Outputs: []string{"type=oci", "-"}}, err: "two --output go to standard output"},
		{
			name: "push", request: Request{Tags: []string{"r.io/x"}, Push: true},
			want: []output{{kind: "image", attrs: map[string]string{"name": "r.io/x:latest", "push": "true"}}},
		},
		{
			name: "push of an output", request: Request{Push: true, Outputs: []string{"type=oci,dest=z", "type=image,name=r.io/x"}},
			want: []output{
				{kind: "oci", attrs: map[string]string{}},
				{kind: "image", attrs: map[string]string{"name": "r.io/x:latest", "push": "true"}},
			},
		},
		{
			name: "a folder and an archive", request: Request{Outputs: []string{"type=oci,tar=false,dest=a", "type=docker"}},
			err: "cannot be combined",
		},
		{name: "push without a name", request: Request{Push: true}, err: "needs a name"},
		{name: "bad output", request: Request{Outputs: []string{"type=x"}}, err: "unknown type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt, err := c.request.options()
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.request.parseOutputs(opt)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(c.want) {
				t.Fatalf("%d outputs, want %d", len(got), len(c.want))
			}
			for i, w := range c.want {
				if w.kind == typeDocker || w.kind == typeOCI || w.kind == typeImage {
					w.attrs["rewrite-timestamp"] = "true"
				}
				if got[i].kind != w.kind || got[i].load != w.load || !maps.Equal(got[i].attrs, w.attrs) {
					t.Errorf("output %d is %s %v, want %s %v", i, got[i].kind, got[i].attrs, w.kind, w.attrs)
				}
			}
		})
	}
}

// FuzzParseOutput looks for panics, and for outputs that were accepted without what
// the exporters need.
func FuzzParseOutput(f *testing.F) {
	for _, s := range []string{
		"type=docker,name=target,annotation[linux/arm64].board=imx8m-mini,mcu=cortex-m4",
		"type=local,dest=x", "-", `type=image,"name=a,b",push=true`, "type=oci,tar=false,dest=x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := parseOutput(s, arm64)
		if err != nil {
			var usage *UsageError
			if !errors.As(err, &usage) {
				t.Errorf("%q: %v is no usage error", s, err)
			}
			return
		}
		if _, ok := outputAttrs[o.kind]; !ok {
			t.Errorf("%q: accepted type %q", s, o.kind)
		}
		if o.folder && (o.dest == "" || o.dest == toStdout) {
			t.Errorf("%q: folder without a name", s)
		}
		for k := range o.annotations {
			if strings.ContainsAny(k, "[]") && !strings.Contains(k, ".") {
				t.Errorf("%q: annotation %q has a platform", s, k)
			}
		}
	})
}
