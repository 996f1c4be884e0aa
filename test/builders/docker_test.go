//go:build engine

package builders

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
)

// dockerImage is what a Docker Engine says of an image.
type dockerImage struct {
	ID           string `json:"Id"`
	Architecture string
	Config       struct{ Labels map[string]string }
}

func inspect(t *testing.T, address, name string) dockerImage {
	t.Helper()
	var i dockerImage
	get(t, address, "/images/"+name+"/json", &i)
	return i
}

// get asks a Docker Engine.
func get(t *testing.T, address, path string, answer any) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(address, "unix://"))
	}}}
	defer c.CloseIdleConnections()
	r, err := c.Get("http://docker" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, r.Status)
	}
	if err := json.NewDecoder(r.Body).Decode(answer); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
