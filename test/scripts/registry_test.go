//go:build engine

package scripts

import (
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestRegistry has two registries on this machine: PLAIN speaks HTTP and takes
// everybody, SECURE speaks HTTPS and wants a login. A script's home knows neither: the
// command trust gives it SECURE's certificate, login the credentials.
func TestRegistry(t *testing.T) {
	base := os.Getenv("HYBRID_SDK_BASE")
	if base == "" {
		t.Fatal("HYBRID_SDK_BASE must name the OCI layout that hybrid sdk base makes")
	}
	silent := registry.Logger(log.New(io.Discard, "", 0))
	plain := httptest.NewServer(registry.New(silent))
	t.Cleanup(plain.Close) // not defer: scripts run in parallel, after this function
	open := registry.New(silent)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`, http.StatusUnauthorized)
			return
		}
		open.ServeHTTP(w, r)
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are part of the test
	secure.StartTLS()
	t.Cleanup(secure.Close)
	host := strings.TrimPrefix(secure.URL, "https://")

	p := params("registry", "HYBRID_BUILDER=embedded", "HYBRID_STATE="+t.TempDir(), "BASE=toolchain=oci-layout://"+base,
		"PLAIN="+strings.TrimPrefix(plain.URL, "http://"), "SECURE="+host)
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		e.Setenv("HOME", e.WorkDir)
		e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, "docker"))
		return setup(e)
	}
	write := func(ts *testscript.TestScript, name string, text []byte) {
		name = ts.MkAbs(name)
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o700))
		ts.Check(os.WriteFile(name, text, 0o600))
	}
	p.Cmds["trust"] = func(ts *testscript.TestScript, _ bool, _ []string) {
		write(ts, ts.Getenv("HOME")+"/.config/containers/certs.d/"+host+"/ca.crt",
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	}
	p.Cmds["login"] = func(ts *testscript.TestScript, _ bool, _ []string) {
		auth := base64.StdEncoding.EncodeToString([]byte("me:secret"))
		write(ts, ts.Getenv("DOCKER_CONFIG")+"/config.json", []byte(`{"auths":{"`+host+`":{"auth":"`+auth+`"}}}`))
	}
	testscript.Run(t, p)
}
