package deviceplugin

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLabels(t *testing.T) {
	const gone = `"hybrid.dev/cortex-m33":null,"hybrid.dev/cortex-m4":%4,"hybrid.dev/cortex-m7":null,"hybrid.dev/cortex-r5":%5,"hybrid.dev/cortex-r7":null,`
	expect := func(board, m4, r5, remoteproc string) string {
		return `{"metadata":{"labels":{"hybrid.dev/board":` + board + "," + strings.NewReplacer("%4", m4, "%5", r5).Replace(gone) + `"hybrid.dev/remoteproc":` + remoteproc + "}}}"
	}
	for name, c := range map[string]struct {
		compatible string
		cores      []core
		want       string
	}{
		"one":        {"fsl,imx8mm-evk fsl,imx8mm", []core{mini}, expect(`"imx8m-mini"`, `"true"`, "null", `"true"`)},
		"two":        {"ti,am642-evm ti,am642", []core{r5, m4f}, expect(`"am642-evm"`, `"true"`, `"true"`, `"true"`)},
		"nobody's":   {"acme,robot fsl,imx8mm", []core{mini}, expect(`"acme-robot"`, `"true"`, "null", `"true"`)},
		"none":       {"fsl,imx8mm-evk fsl,imx8mm", nil, expect("null", "null", "null", "null")},
		"not for us": {"mediatek,mt8390-evk mediatek,mt8390", []core{{"scp", "scp", "mediatek,mt8188-scp"}}, expect("null", "null", "null", "null")},
	} {
		found, err := look(newDesk(t, c.compatible, c.cores...).host())
		if err != nil {
			t.Fatal(err)
		}
		got, err := labelPatch(found.labels())
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
	}
}

func TestLabelValue(t *testing.T) {
	for name, want := range map[string]string{
		"imx8m-mini": "imx8m-mini", "acme,robot": "acme-robot", "a+b": "a-b", ",": "", "": "", "-_.x._-": "x", "ä": "",
		strings.Repeat("a", 70): strings.Repeat("a", 63), strings.Repeat("a", 62) + "-b": strings.Repeat("a", 62),
	} {
		if got := labelValue(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// apiServer is what answers the patches of a node; the account's folder is made for it.
func apiServer(t *testing.T, handle http.HandlerFunc) (account string) {
	t.Helper()
	s := httptest.NewTLSServer(handle)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", u.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", u.Port())
	account = t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, b := range map[string][]byte{"ca.crt": ca, "token": []byte("secret\n")} {
		if err := os.WriteFile(filepath.Join(account, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return account
}

func TestCluster(t *testing.T) {
	type asked struct{ method, path, token, kind, body string }
	got := make(chan asked, 1)
	answer, text := http.StatusOK, "{}"
	account := apiServer(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- asked{r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(b)}
		w.WriteHeader(answer)
		_, _ = io.WriteString(w, text)
	})
	c, err := InCluster(account)
	if err != nil {
		t.Fatal(err)
	}
	yes := "true"
	labels := map[string]*string{"hybrid.dev/a": &yes, "hybrid.dev/b": nil}
	if err := c.label(t.Context(), "node/../x", labels); err != nil {
		t.Fatal(err)
	}
	want := asked{"PATCH", "/api/v1/nodes/node%2F..%2Fx", "Bearer secret", "application/merge-patch+json", `{"metadata":{"labels":{"hybrid.dev/a":"true","hybrid.dev/b":null}}}`}
	if a := <-got; a != want {
		t.Errorf("asked %+v, want %+v", a, want)
	}
	// the token is renewed while we run
	if err := os.WriteFile(filepath.Join(account, "token"), []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	answer, text = http.StatusForbidden, `{"kind":"Status","message":"nodes \"x\" is forbidden"}`
	if err := c.label(t.Context(), "x", labels); err == nil || err.Error() != `403 Forbidden: nodes "x" is forbidden` {
		t.Errorf("%v", err)
	}
	if a := <-got; a.token != "Bearer newer" {
		t.Errorf("token %q", a.token)
	}
	answer, text = http.StatusBadGateway, "<html>"
	if err := c.label(t.Context(), "x", labels); err == nil || err.Error() != "502 Bad Gateway: no reason given" {
		t.Errorf("%v", err)
	}
	<-got
	if err := os.Remove(filepath.Join(account, "token")); err != nil {
		t.Fatal(err)
	}
	if err := c.label(t.Context(), "x", labels); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no token: %v", err)
	}
}

func TestInCluster(t *testing.T) {
	account := apiServer(t, nil)
	if err := os.WriteFile(filepath.Join(account, "ca.crt"), []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := InCluster(account); err == nil || !strings.Contains(err.Error(), "ca.crt holds no certificate") {
		t.Errorf("%v", err)
	}
	if _, err := InCluster(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := InCluster(account); !errors.Is(err, ErrNoCluster) {
		t.Errorf("%v", err)
	}
}

// A server that we have no certificate of learns nothing.
func TestClusterTrustsItsCertificateAlone(t *testing.T) {
	account := apiServer(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	c, err := InCluster(account)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake
	s.StartTLS()
	defer s.Close()
	c.address = strings.Replace(s.URL, "127.0.0.1", "localhost", 1) // in nobody's certificate
	if err := c.label(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}

// fakeNode takes labels, or does not.
type fakeNode struct {
	got  chan string
	fail chan error
}

func (n *fakeNode) label(ctx context.Context, node string, labels map[string]*string) error {
	select {
	case err := <-n.fail:
		return err
	default:
	}
	set := map[string]string{}
	for k, v := range labels {
		if v != nil {
			set[k] = *v
		}
	}
	b, err := json.Marshal(set)
	if err != nil {
		return err
	}
	select {
	case n.got <- node + " " + string(b):
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (n *fakeNode) want(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-n.got:
		if got != want {
			t.Errorf("labels %s, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no labels, want %s", want)
	}
}
