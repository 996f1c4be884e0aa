//go:build engine

package engines

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"testing"
)

// content is what an image is made of.
type content struct {
	files      map[string][]byte // programs, by path
	entrypoint []string
	env        []string
}

// archive writes an image that every engine loads: an OCI layout in a tar archive,
// with what docker load of old wants beside it.
func archive(t *testing.T, file, name string, c content) {
	t.Helper()
	blobs := map[string][]byte{}
	put := func(mediaType string, v any) map[string]any {
		b, ok := v.([]byte)
		if !ok {
			var err error
			if b, err = json.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
		hex := fmt.Sprintf("%x", sha256.Sum256(b))
		blobs["blobs/sha256/"+hex] = b
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + hex, "size": len(b)}
	}
	layer := put("application/vnd.oci.image.layer.v1.tar", tarOf(t, c.files))
	config := put("application/vnd.oci.image.config.v1+json", map[string]any{
		"created": "2020-01-01T00:00:00Z", "architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": c.entrypoint, "Env": c.env},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []any{layer["digest"]}},
	})
	manifest := put("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{layer},
	})
	manifest["annotations"] = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
	path := func(d map[string]any) string { return "blobs/sha256/" + d["digest"].(string)[len("sha256:"):] }
	for name, v := range map[string]any{
		"oci-layout":    map[string]string{"imageLayoutVersion": "1.0.0"},
		"index.json":    map[string]any{"schemaVersion": 2, "manifests": []any{manifest}},
		"manifest.json": []any{map[string]any{"Config": path(config), "RepoTags": []string{name}, "Layers": []string{path(layer)}}},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		blobs[name] = b
	}
	if err := os.WriteFile(file, tarOf(t, blobs), 0o644); err != nil {
		t.Fatal(err)
	}
}

func tarOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
