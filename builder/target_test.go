package builder

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/image"
)

func claim(where, boardName, mcu string) image.Claim {
	return image.Claim{Where: where, Target: image.Target{Board: boardName, MCU: mcu}}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name   string
		claims []image.Claim
		want   image.Target
		args   map[string]string
		err    string
	}{
		{
			name: "complete", claims: []image.Claim{claim("--board/--mcu", "imx8m-mini", "cortex-m4")},
			want: image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, args: map[string]string{"BOARD": "imx8m-mini", "MCU": "cortex-m4"},
		},
		{
			name: "the only kind of core", claims: []image.Claim{claim("--board/--mcu", "qemu-virt", "")},
			want: image.Target{Board: "qemu-virt", MCU: "cortex-m4"}, args: map[string]string{"BOARD": "qemu-virt", "MCU": "cortex-m4"},
		},
		{
			name: "an alias stays, but the SDK gets the board's name", claims: []image.Claim{claim("--output", "imx8mm-evk", "cortex-m4")},
			want: image.Target{Board: "imx8mm-evk", MCU: "cortex-m4"}, args: map[string]string{"BOARD": "imx8m-mini", "MCU": "cortex-m4"},
		},
		{
			name:   "halves from two places",
			claims: []image.Claim{claim("--board/--mcu", "", "cortex-m4"), claim("LABEL in Dockerfile", "imx8m-mini", "")},
			want:   image.Target{Board: "imx8m-mini", MCU: "cortex-m4"}, args: map[string]string{"BOARD": "imx8m-mini", "MCU": "cortex-m4"},
		},
		{
			name:   "two names of one board, the first is written",
			claims: []image.Claim{claim("--board/--mcu", "imx8mm-evk", ""), claim("LABEL in Dockerfile", "imx8m-mini", "cortex-m4f")},
			want:   image.Target{Board: "imx8mm-evk", MCU: "cortex-m4f"}, args: map[string]string{"BOARD": "imx8m-mini", "MCU": "cortex-m4"},
		},
		{
			name:   "two boards",
			claims: []image.Claim{claim("--board/--mcu", "imx8m-mini", ""), claim("ENV in Dockerfile", "imx93-evk", "")},
			err:    "--board/--mcu says board=imx8m-mini, ENV in Dockerfile says board=imx93-evk",
		},
		{
			name:   "two cores",
			claims: []image.Claim{claim("--annotation", "imx8m-mini", "cortex-m4"), claim("--label", "", "cortex-m7")},
			err:    "--annotation says mcu=cortex-m4, --label says mcu=cortex-m7",
		},
		{name: "unknown board", claims: []image.Claim{claim("", "imx8m-mnii", "")}, err: "did you mean imx8m-mini"},
		{name: "no such core", claims: []image.Claim{claim("", "imx8m-mini", "cortex-r5f")}, err: "it has cortex-m4"},
		{name: "several kinds of core", claims: []image.Claim{claim("", "am642-evm", "")}, err: "say which"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := resolve(c.claims)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Target != c.want || !maps.Equal(got.args(), c.args) {
				t.Errorf("%+v with %v, want %+v with %v", got.Target, got.args(), c.want, c.args)
			}
		})
	}
}

func TestResolveErrorsKeepTheirType(t *testing.T) {
	var conflict *image.ConflictError
	if _, err := resolve([]image.Claim{claim("a", "imx8m-mini", ""), claim("b", "qemu-virt", "")}); !errors.As(err, &conflict) {
		t.Errorf("%v is no ConflictError", err)
	}
	var unknown *board.UnknownError
	if _, err := resolve([]image.Claim{claim("a", "toaster", "")}); !errors.As(err, &unknown) {
		t.Errorf("%v is no UnknownError", err)
	}
}

func TestResolveNothing(t *testing.T) {
	for _, claims := range [][]image.Claim{nil, {claim("--board/--mcu", "", "cortex-m4")}} {
		if got, err := resolve(claims); got != nil || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
	if args := (*resolved)(nil).args(); len(args) != 0 {
		t.Errorf("arguments %v of no target", args)
	}
}

func TestSetTarget(t *testing.T) {
	img := &dockerspec.DockerOCIImage{}
	img.Config.Labels = map[string]string{"board": "imx8m-mini", "vendor": "acme"}
	img.Config.Env = []string{"PATH=/bin", "HYBRID_BOARD=imx8m-mini", "A=1", "HYBRID_BOARD=old"}
	labels, env := img.Config.Labels, img.Config.Env

	setTarget(img, image.Target{Board: "imx8mm-evk", MCU: "cortex-m4"})
	if want := map[string]string{"board": "imx8mm-evk", "mcu": "cortex-m4", "vendor": "acme"}; !maps.Equal(img.Config.Labels, want) {
		t.Errorf("labels %v", img.Config.Labels)
	}
	if want := []string{"PATH=/bin", "A=1", "HYBRID_BOARD=imx8mm-evk", "HYBRID_MCU=cortex-m4"}; !slices.Equal(img.Config.Env, want) {
		t.Errorf("environment %v", img.Config.Env)
	}
	if labels["board"] != "imx8m-mini" || env[1] != "HYBRID_BOARD=imx8m-mini" {
		t.Error("the original was written to")
	}
	// what is written is what the runtime will read
	if a, b := image.TargetOf(img.Config.Labels), image.TargetOfEnv(img.Config.Env); a != b {
		t.Errorf("labels say %v, environment says %v", a, b)
	}

	empty := &dockerspec.DockerOCIImage{}
	setTarget(empty, image.Target{Board: "b", MCU: "m", Processor: "remoteproc1"})
	if got := image.TargetOfEnv(empty.Config.Env); got.Processor != "remoteproc1" || empty.Config.Labels["remoteproc.name"] != "remoteproc1" {
		t.Errorf("processor is lost: %+v", empty.Config)
	}
}

// What is taken out of a config is what says nothing: what somebody wrote stays.
func TestSlim(t *testing.T) {
	img := &dockerspec.DockerOCIImage{}
	img.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=b"}
	img.History = []v1.History{{CreatedBy: "ARG X", EmptyLayer: true}, {CreatedBy: "COPY"}, {CreatedBy: "ENTRYPOINT", EmptyLayer: true}}
	slim(img)
	if len(img.History) != 1 || img.History[0].CreatedBy != "COPY" || !slices.Equal(img.Config.Env, []string{"A=b"}) {
		t.Errorf("history %v, environment %v", img.History, img.Config.Env)
	}
	img.Config.Env = []string{"PATH=/opt"}
	slim(img)
	if !slices.Equal(img.Config.Env, []string{"PATH=/opt"}) {
		t.Errorf("environment %v", img.Config.Env)
	}
}
