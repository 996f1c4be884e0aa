package builder

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/image"
)

func TestVariants(t *testing.T) {
	for _, c := range []struct {
		name    string
		targets []string
		board   string
		said    []image.Claim
		want    string
		err     string
	}{
		{name: "none", want: ""},
		{name: "flag", board: "imx8mm-evk", want: "imx8m-mini/cortex-m4"},
		{name: "one", targets: []string{"imx8m-mini/cortex-m4"}, want: "imx8m-mini/cortex-m4"},
		{name: "two cores", targets: []string{"imx943-evk/cortex-m7", "imx943-evk/cortex-m33"}, want: "imx943-evk/cortex-m7 imx943-evk/cortex-m33"},
		{name: "two boards", targets: []string{"imx8m-mini", "imx93-evk"}, want: "imx8m-mini/cortex-m4 imx93-evk/cortex-m33"},
		{name: "twice", targets: []string{"imx8m-mini", "imx8mm-evk/cortex-m4"}, err: "--target-core: target imx8m-mini/cortex-m4 is given twice"},
		{name: "unknown", targets: []string{"imx8m-mnii"}, err: "did you mean imx8m-mini"},
		{name: "which core", targets: []string{"imx943-evk"}, err: "has several kinds of core"},
		{name: "empty", targets: []string{""}, err: "want BOARD/MCU"},
		{name: "no board", targets: []string{"A=1"}, err: "want BOARD/MCU"},
		{name: "bad argument", targets: []string{"imx8m-mini,=1"}, err: "want NAME=VALUE"},
		{name: "with the other flags", targets: []string{"imx8m-mini"}, board: "imx8m-mini", err: "leave --board and --mcu out"},
		{
			name: "contradiction", targets: []string{"imx8m-mini", "imx93-evk"},
			said: []image.Claim{{Where: "--label", Target: image.Target{Board: "imx8m-mini"}}},
			err:  "--target-core says board=imx93-evk, --label says board=imx8m-mini",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			variants, err := (&Request{Targets: c.targets, Target: image.Target{Board: c.board}}).variants(c.said)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			var names []string
			for _, v := range variants {
				names = append(names, v.name())
			}
			if got := strings.Join(names, " "); err != nil || got != c.want {
				t.Errorf("%s, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestArgsOfTargets(t *testing.T) {
	r := &Request{Targets: []string{"imx8m-mini/cortex-m4,OPT=mine,MORE=1", "imx93-evk"}, BuildArgs: []string{"OPT=all", "MCU=other"}}
	o, err := r.options()
	if err != nil {
		t.Fatal(err)
	}
	variants, err := r.variants(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []map[string]string{
		{"BOARD": "imx8m-mini", "MCU": "other", "OPT": "mine", "MORE": "1"},
		{"BOARD": "imx93-evk", "MCU": "other", "OPT": "all"},
	} {
		if got := o.argsFor(variants[i]); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", variants[i].name(), got, want)
		}
	}
}

// Annotations of an index are obeyed where there is one, and refused where not.
func TestIndexAnnotations(t *testing.T) {
	two := []string{"imx8m-mini", "imx93-evk"}
	for _, c := range []struct {
		r  Request
		ok bool
	}{
		{Request{Targets: two}, true},
		{Request{Targets: two, Pack: true}, false},
		{Request{Provenance: "mode=min"}, true},
		{Request{}, false},
	} {
		c.r.Annotations = []string{"index:a=b"}
		o, err := c.r.options()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseAnnotations(c.r.Annotations, o.form); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.r, err)
		}
		if _, err := parseOutput("type=oci,annotation-index.a=b", o.form); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.r, err)
		}
	}
}

// The outputs of an index share their images.
func TestIndexAttrs(t *testing.T) {
	for _, c := range []struct {
		outputs []string
		want    string
		err     string
	}{
		{[]string{"type=oci,dest=a", "type=docker,dest=b,name=x", "type=image,push=true,name=y,registry.insecure=true"}, "map[rewrite-timestamp:true tar:false]", ""},
		{[]string{"type=oci,dest=a,annotation.x=y,annotation-index.a=b"}, "map[annotation-manifest.x:y rewrite-timestamp:true tar:false]", ""},
		{[]string{"type=local,dest=a"}, "map[rewrite-timestamp:true tar:false]", ""},
		{[]string{"type=oci,dest=a,compression=zstd", "type=oci,dest=b"}, "", "must agree on annotations and compression"},
		{[]string{"type=image,name=x"}, "", "can be pushed, loaded, or written"},
	} {
		r := &Request{Targets: []string{"imx8m-mini", "imx93-evk"}, Outputs: c.outputs}
		o, err := r.options()
		if err != nil {
			t.Fatal(err)
		}
		outputs, err := r.parseOutputs(o)
		if err != nil {
			t.Fatal(err)
		}
		attrs, err := (&build{request: r, options: o, outputs: outputs}).indexAttrs()
		if c.err != "" {
			wantUsage(t, err, c.err)
		} else if err != nil || fmt.Sprint(attrs) != c.want {
			t.Errorf("%v: %v, %v, want %s", c.outputs, attrs, err, c.want)
		}
	}
}

func TestVariantFailed(t *testing.T) {
	err := errors.New("no")
	if got := (&variant{}).failed(err).Error(); got != "no" {
		t.Errorf("without a target: %s", got)
	}
	known, lookup := resolve([]image.Claim{{Target: image.Target{Board: "imx8m-mini"}}})
	if lookup != nil {
		t.Fatal(lookup)
	}
	if got := (&variant{target: known}).failed(err).Error(); got != "imx8m-mini/cortex-m4: no" {
		t.Errorf("with a target: %s", got)
	}
}
