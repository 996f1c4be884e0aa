package image

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// digestsIn replaces #0, #1, … by the digests of blobs.
func digestsIn(text string, blobs ...[]byte) []byte {
	for n, b := range blobs {
		text = strings.ReplaceAll(text, fmt.Sprintf("#%d", n), string(digestOf(b)))
	}
	return []byte(text)
}

// FuzzLayout reads layouts whose documents are anything. The digests in them are made
// right, so that what is behind them is reached.
func FuzzLayout(f *testing.F) {
	const index = `{"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "#0", "size": 1,
		"annotations": {"org.opencontainers.image.ref.name": "v1"}}]}`
	const manifest = `{"config": {"digest": "#0"}, "layers": [{"digest": "#1"}], "annotations": {"board": "imx8m-mini", "mcu": "cortex-m4"}}`
	const config = `{"config": {"Entrypoint": ["/hello.elf"], "Env": ["HYBRID_TARGETS=a/b,c/d"], "Labels": {"board": "imx8m-mini"}}}`
	f.Add(index, manifest, config)
	f.Add(strings.Replace(index, "manifest.v1", "index.v1", 1), manifest, config)
	f.Add(index, strings.Replace(manifest, "#1", "sha256:../../../../etc/passwd", 1), config)
	f.Add(`{"manifests": [{"digest": "#0"}, null, {"annotations": null}]}`, `{"layers": [null, {}]}`, `{"config": null}`)
	layer := tarOf(f, file("hello.elf", "firmware"), file("a/b/hello.elf", "packed"))
	f.Fuzz(func(t *testing.T, index, manifest, config string) {
		configBlob := digestsIn(config, layer)
		manifestBlob := digestsIn(manifest, configBlob, layer)
		files := memory{"index.json": digestsIn(index, manifestBlob, configBlob)}
		for _, b := range [][]byte{layer, configBlob, manifestBlob} {
			name, _, err := blobPath(digestOf(b))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = b
		}
		l := &Layout{path: "fuzz", files: files}
		for _, tag := range []string{"", "v1"} {
			images, err := l.Select(tag, "")
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("more than a line: %q", err)
				}
				continue
			}
			for _, i := range images[:min(3, len(images))] {
				programs, err := i.Programs()
				if err != nil {
					continue
				}
				for _, p := range programs[:min(3, len(programs))] {
					if !strings.HasPrefix(p.Path, "/") || slices.Contains(strings.Split(p.Path, "/"), "..") {
						t.Errorf("program %+v", p)
					}
					var b bytes.Buffer
					if err := i.CopyFile(&b, p.Path, 8); err == nil && b.String() != "firmware" && b.String() != "packed" {
						t.Errorf("%s is %q", p.Path, &b)
					}
				}
			}
		}
	})
}
