package builder

import (
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/containerd/platforms"

	"github.com/hybrid-containers/hybrid/image"
)

func TestOptions(t *testing.T) {
	t.Setenv("FROM_ENV", "e")
	o, err := (&Request{
		Platform:  "linux/arm64/v8",
		BuildArgs: []string{"A=1", "B=", "C=x=y", "FROM_ENV", "NOT_IN_ENV"},
		Labels:    []string{"l=v", "m=", "n"},
		Tags:      []string{"x", "localhost:5000/y:2"},
		Progress:  "plain",
	}).options()
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"A": "1", "B": "", "C": "x=y", "FROM_ENV": "e"}; !maps.Equal(o.buildArgs, want) {
		t.Errorf("build arguments %v", o.buildArgs)
	}
	if want := map[string]string{"l": "v", "m": "", "n": ""}; !maps.Equal(o.labels, want) {
		t.Errorf("labels %v", o.labels)
	}
	if got := strings.Join(o.tags, " "); got != "docker.io/library/x:latest localhost:5000/y:2" {
		t.Errorf("tags %s", got)
	}
	if o.form.platform.Architecture != "arm64" || o.form.platform.Variant != "" {
		t.Errorf("platform %+v", o.form.platform)
	}
}

func TestOptionsRefuse(t *testing.T) {
	for want, r := range map[string]Request{
		"one platform":        {Platform: "linux/arm64,linux/arm"},
		"--platform":          {Platform: "a/b/c/d/e"},
		"want NAME=VALUE":     {BuildArgs: []string{"=x"}},
		"--build-arg \"a b\"": {BuildArgs: []string{"a b"}},
		"--label \"=x\"":      {Labels: []string{"=x"}},
		"image name \"UP\"":   {Tags: []string{"UP"}},
		"unknown --progress":  {Progress: "loud"},
	} {
		_, err := r.options()
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestSourceDateEpoch(t *testing.T) {
	for _, c := range []struct{ env, arg, want, err string }{
		{"", "", "0", ""},
		{"12", "", "12", ""},
		{"12", "13", "13", ""},
		{"now", "", "", "SOURCE_DATE_EPOCH=now in the environment"},
		{"", "-1", "", "SOURCE_DATE_EPOCH=-1 in --build-arg"},
		{"253402300799", "", "253402300799", ""},
		{"253402300800", "", "", "want seconds since 1970, to the year 9999"},
	} {
		t.Setenv("SOURCE_DATE_EPOCH", c.env)
		args := map[string]string{}
		if c.arg != "" {
			args["SOURCE_DATE_EPOCH"] = c.arg
		}
		got, err := sourceDateEpoch(args)
		if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("environment %q, argument %q: %q, %v", c.env, c.arg, got, err)
		}
	}
}

func TestFrontendAttrs(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	r := &Request{Stage: "build", NoCache: true, BuildArgs: []string{"MCU=mine", "X=1"}, Labels: []string{"a=b"}}
	o, err := r.options()
	if err != nil {
		t.Fatal(err)
	}
	target, err := resolve([]image.Claim{claim("", "imx8mm-evk", "")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.frontendAttrs(o, &variant{target: target})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{
		"platform": "linux/arm64", "target": "build", "no-cache": "", "label:a": "b",
		"build-arg:BOARD": "imx8m-mini", "build-arg:MCU": "mine", "build-arg:X": "1", "build-arg:SOURCE_DATE_EPOCH": "0",
	}; !maps.Equal(got, want) {
		t.Errorf("attributes %v, want %v", got, want)
	}
}

// prepare must notice mistakes before a BuildKit is started, and as any user.
func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	file := dir + "/file"
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/Makefile", []byte("include $(SDK)/baremetal.mk\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		usage      bool
		request    Request
	}{
		{"no folder", dir + "/nothing: no such file or directory", false, Request{Path: dir + "/nothing"}},
		{"a file", "is not a folder", false, Request{Path: file}},
		{"no target", "no target: say which core", false, Request{Path: dir}},
		{"no SDK", "no file that tells the SDK: add one of them, or choose with --sdk baremetal|", false, Request{Path: t.TempDir(), Target: image.Target{Board: "qemu-virt"}}},
		{"unknown SDK", `unknown SDK "rtos", there are: baremetal`, true, Request{Path: dir, SDK: "rtos", Target: image.Target{Board: "qemu-virt"}}},
		{"unknown board", `unknown board "x"`, false, Request{Path: dir, Target: image.Target{Board: "x"}}},
		{"no Dockerfile", dir + "/D: no such file or directory", false, Request{Path: dir, Dockerfile: dir + "/D"}},
		{"contradiction", "--board/--mcu says board=qemu-virt, --output says board=imx8m-mini", false, Request{
			Path: dir, Target: image.Target{Board: "qemu-virt"}, Outputs: []string{"type=oci,board=imx8m-mini,dest=x"},
		}},
		{"context", "--build-context x: /nothing: no such file or directory", false, Request{
			Path: dir, Target: image.Target{Board: "qemu-virt"}, Contexts: []string{"x=/nothing"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Build(t.Context(), c.request)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			var usage *UsageError
			if errors.As(err, &usage) != c.usage {
				t.Errorf("usage error: %v, want %v", !c.usage, c.usage)
			}
		})
	}
}

func TestPlatforms(t *testing.T) {
	for _, c := range []struct {
		request Request
		want    string
	}{
		{Request{}, "linux/arm64"},
		{Request{Target: image.Target{Board: "imx8m-mini"}}, "linux/arm64"},
		{Request{Target: image.Target{Board: "stm32mp157c-dk2"}}, "linux/arm/v7"},
		{Request{Target: image.Target{Board: "stm32mp157c-dk2"}, Platform: "linux/arm64"}, "linux/arm64"},
		{Request{Outputs: []string{"type=oci,dest=a,annotation[linux/arm64].board=stm32mp157c-dk2"}}, "linux/arm64"},
		{Request{Outputs: []string{"type=oci,dest=a,annotation-manifest[linux/arm/v7].a=b"}}, "linux/arm/v7"},
		{Request{Target: image.Target{Board: "imx8m-mini"}, Annotations: []string{"manifest[linux/arm/v7]:a=b"}}, "linux/arm/v7"},
		{Request{Target: image.Target{Board: "stm32mp157c-dk2"}, Outputs: []string{"type=oci,dest=annotation"}}, "linux/arm/v7"},
	} {
		o, err := c.request.options()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.request.parseOutputs(o); err != nil {
			t.Errorf("%+v: %v", c.request, err)
		}
		variants, err := c.request.variants(nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := o.platformOf(variants[0])
		if got := platforms.Format(p); got != c.want || err != nil {
			t.Errorf("%v %v: platform %s, %v, want %s", c.request.Target, c.request.Outputs, got, err, c.want)
		}
	}
}
