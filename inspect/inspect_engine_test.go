//go:build engine

package inspect

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"

	"github.com/hybrid-containers/hybrid/builder"
	"github.com/hybrid-containers/hybrid/builder/buildkit"
	"github.com/hybrid-containers/hybrid/image"
)

// TestBuiltHello builds hello_world for the i.MX8M Mini, which the strictest checks
// have nothing against, and finds the same in the layout, the archive and a registry.
// As root, with runc, and HYBRID_SDK_BASE naming the OCI layout of hybrid sdk base.
func TestBuiltHello(t *testing.T) {
	base := os.Getenv("HYBRID_SDK_BASE")
	if base == "" {
		t.Fatal("HYBRID_SDK_BASE must name the OCI layout that hybrid sdk base makes")
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "layout")
	logrus.SetOutput(io.Discard) // BuildKit's libraries log what they also return
	_, err := builder.Build(t.Context(), builder.Request{
		Path: "../examples/hello_world", Target: image.Target{Board: "imx8m-mini", MCU: "cortex-m4"},
		Contexts: []string{"toolchain=oci-layout://" + base}, Check: "strict",
		Outputs:  []string{"type=oci,tar=false,dest=" + folder},
		Progress: "quiet", BuildKit: buildkit.Options{StateDir: filepath.Join(dir, "state")}, Stderr: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	archive := archiveOf(t, folder)
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	named := registryAt(t) + "/hello:1"
	if err := remote.Write(ref(t, named), img); err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, source := range []string{folder, archive, named} {
		r := open(t, source, Target{})
		b, err := json.Marshal(r.Images)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = string(b)
			hello := r.Images[0]
			fw := hello.Firmware[0]
			if hello.Target.name() != "imx8m-mini/cortex-m4" || len(hello.Target.SaidBy) != 3 || len(hello.Files) != 1 || len(hello.Findings) != 0 {
				t.Errorf("image %+v", hello)
			}
			if fw.Arm == nil || fw.Arm.FloatABI != "hard" || fw.Boot == nil || fw.Boot.Stack != 0x20020000 || len(fw.Findings) != 0 {
				t.Errorf("firmware %+v", fw)
			}
			if fw.Memory[0].Used == 0 || fw.Memory[1].Used == 0 || len(fw.Table.Entries) != 1 || fw.Sizes.Code == 0 || fw.Sizes.BSS == 0 {
				t.Errorf("memory %+v, table %+v, sizes %+v", fw.Memory, fw.Table, fw.Sizes)
			}
		}
		if string(b) != want {
			t.Errorf("%s:\n%s\nwant\n%s", source, b, want)
		}
	}
}
