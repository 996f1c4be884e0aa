package builder

import (
	"fmt"
	"path/filepath"

	"github.com/hybrid-containers/hybrid/dockerfiles"
	"github.com/hybrid-containers/hybrid/sdk"
)

// usePulled builds with what hybrid sdk pull has prepared, where the user has named
// nothing else, and says so.
func (b *build) usePulled(name string) error {
	if b.request.SDKArchive != "" {
		return nil
	}
	for _, pin := range dockerfiles.Pins(name) {
		for _, arg := range pin.Args {
			if _, ok := b.options.buildArgs[arg]; ok {
				return nil // another version
			}
		}
	}
	folder, ok := sdk.Pulled(name, dockerfiles.Version(name))
	if !ok {
		return nil
	}
	used := false
	for _, stage := range sdk.Stages(name) {
		// a stage that is named, or one that it is made of, stays the user's
		if b.sources.has(stage) || stage != "sdk" && b.sources.has("toolchain") {
			continue
		}
		if err := b.sources.add(stage + "=oci-layout://" + filepath.Join(folder, stage)); err != nil {
			return err
		}
		used = true
	}
	if used && b.request.Progress != "quiet" {
		fmt.Fprintf(b.request.Stderr, "using the SDK %s pulled into %s\n", name, folder)
	}
	return nil
}
