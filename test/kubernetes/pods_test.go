//go:build kubernetes

package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hybrid-containers/hybrid/test/fixture"
)

// runtimeClass names the handler.
const runtimeClass = `
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: hybrid}
handler: hybrid
`

// pod is a manifest of firmware.
func pod(name, image, more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  runtimeClassName: hybrid
  %s
  containers:
    - {name: firmware, image: %q}
`, name, more, image)
}

func TestPods(t *testing.T) {
	n := startNode(t)
	n.apply(runtimeClass)
	n.apply(pod("hello", imageHello, ""))
	n.eventually(func() error {
		out, err := n.tryKubectl("logs", "hello")
		if err == nil && !strings.Contains(out, fixture.Greeting) {
			err = fmt.Errorf("log %q", out)
		}
		return err
	})
	t.Logf("\n%s", n.kubectl("get", "pods", "--output", "wide"))
}
