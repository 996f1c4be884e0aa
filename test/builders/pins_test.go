package builders

import (
	"os"
	"testing"

	"golang.org/x/mod/modfile"
)

// The buildkitd of the tests is the BuildKit that is embedded: only then does a
// difference between the two say something.
func TestPins(t *testing.T) {
	versions := func(name string) map[string]string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := modfile.Parse(name, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, r := range f.Require {
			found[r.Mod.Path] = r.Mod.Version
		}
		return found
	}
	ours, theirs := versions("../../go.mod"), versions("../../tools/engines/buildkit/go.mod")
	for _, module := range []string{"github.com/moby/buildkit", "github.com/containerd/containerd/v2"} {
		if ours[module] == "" || ours[module] != theirs[module] {
			t.Errorf("%s: go.mod has %s, tools/engines/buildkit/go.mod has %s", module, ours[module], theirs[module])
		}
	}
}
