package builder

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/image"
)

func TestParseAnnotations(t *testing.T) {
	got, err := parseAnnotations([]string{
		"a=1",
		"manifest:b=2",
		"manifest[linux/arm64]:c=3=3",
		"manifest,manifest-descriptor:d=4",
		"org.opencontainers.image.url=https://example.com/x:y",
		"board=qemu-virt",
		"manifest[linux/arm64/v8]:mcu=cortex-m4",
	}, arm64)
	if err != nil {
		t.Fatal(err)
	}
	if target := got.takeTarget(); target != (image.Target{Board: "qemu-virt", MCU: "cortex-m4"}) {
		t.Errorf("target %+v", target)
	}
	if want := (annotations{
		"annotation-manifest.a":                            "1",
		"annotation-manifest.b":                            "2",
		"annotation-manifest.c":                            "3=3",
		"annotation-manifest.d":                            "4",
		"annotation-manifest-descriptor.d":                 "4",
		"annotation-manifest.org.opencontainers.image.url": "https://example.com/x:y",
	}); !maps.Equal(got, want) {
		t.Errorf("annotations %v, want %v", got, want)
	}
}

func TestParseAnnotationsRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "want [TYPE",
		"key":                       "want [TYPE",
		"=value":                    "want [TYPE",
		"a b=c":                     "want [TYPE",
		"index:a=1":                 "has no index, use annotation.a",
		"manifest,index:a=1":        "has no index",
		"manifest[linux/amd64]:a=1": "built for linux/arm64",
		"layer:a=1":                 "unrecognized annotation type layer",
	} {
		_, err := parseAnnotations([]string{in}, arm64)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", in, err, want)
		}
	}
}
