package image

import (
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	const list = "imx8m-mini/cortex-m4,imx93-evk/cortex-m33"
	targets, err := ParseTargets(list)
	if err != nil || len(targets) != 2 || targets.String() != list {
		t.Fatalf("%v, %v", targets, err)
	}
	if got := targets[1].Path("/opt/app.elf"); got != "/imx93-evk/cortex-m33/app.elf" {
		t.Errorf("path %s", got)
	}
	for _, bad := range []string{"", "a", "a/", "/m", "../m", "a/..", "a/b/c", "a/b,", "a/b,,c/d", strings.Repeat("a/b,", maxTargets) + "a/b"} {
		if got, err := ParseTargets(bad); err == nil {
			t.Errorf("%q: %v, want an error", bad, got)
		}
	}
}

func TestPrograms(t *testing.T) {
	mini := Target{Board: "imx8m-mini", MCU: "cortex-m4"}
	for _, c := range []struct {
		env  string
		want []Program
	}{
		{"HYBRID_BOARD=imx8m-mini", []Program{{mini, "/app.elf"}}},
		{"HYBRID_TARGETS=imx8m-mini/cortex-m4,a/b", []Program{{mini, "/imx8m-mini/cortex-m4/app.elf"}, {Target{Board: "a", MCU: "b"}, "/a/b/app.elf"}}},
	} {
		i := &Image{Config: Config{Config: Run{Entrypoint: []string{"app.elf"}, Env: []string{c.env, "HYBRID_MCU=cortex-m4"}}}}
		got, err := i.Programs()
		if err != nil || len(got) != len(c.want) {
			t.Fatalf("%s: %v, %v", c.env, got, err)
		}
		for n := range got {
			if got[n] != c.want[n] {
				t.Errorf("%s: %v, want %v", c.env, got[n], c.want[n])
			}
		}
	}
}
