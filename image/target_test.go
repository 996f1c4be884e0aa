package image

import (
	"errors"
	"testing"
)

func TestTargetOfEnv(t *testing.T) {
	got := TargetOfEnv([]string{"PATH=/bin", "HYBRID_BOARD=old", "HYBRID_BOARD=imx8m-mini", "HYBRID_MCU=cortex-m4", "HYBRID_PROCESSOR=remoteproc1", "HYBRID"})
	if want := (Target{"imx8m-mini", "cortex-m4", "remoteproc1"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOr(t *testing.T) {
	got := Target{MCU: "cortex-m4"}.Or(Target{Board: "imx8m-mini", MCU: "cortex-m7", Processor: "remoteproc0"})
	if want := (Target{"imx8m-mini", "cortex-m4", "remoteproc0"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if s := got.String(); s != "imx8m-mini/cortex-m4" {
		t.Errorf("String() = %q", s)
	}
}

func TestResolve(t *testing.T) {
	claims := []Claim{
		{"--board", Target{Board: "imx8m-mini"}},
		{"the labels", Target{Board: "imx8mm-evk", MCU: "cortex-m4"}},
	}
	_, err := Resolve(nil, claims...)
	var conflict *ConflictError
	if !errors.As(err, &conflict) {
		t.Fatalf("error %v", err)
	}
	if want := "contradicting targets: --board says board=imx8m-mini, the labels says board=imx8mm-evk"; err.Error() != want {
		t.Errorf("message %q, want %q", err, want)
	}
	got, err := Resolve(func(key, a, b string) bool { return key == KeyBoard }, claims...)
	if want := (Target{Board: "imx8m-mini", MCU: "cortex-m4"}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v: the first of two that mean the same", got, err, want)
	}
}
