package deviceplugin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ServiceAccountDir is where a pod finds what it needs to talk to the API server.
const ServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// ErrNoCluster reports a process that is in no pod.
var ErrNoCluster = errors.New("not in a pod: KUBERNETES_SERVICE_HOST is not set")

// patchTime bounds one request.
const patchTime = 30 * time.Second

// Cluster is an API server, as pods know it. One request is all that we ever make of
// it: the client of the Go library for it would be 5 MB of 17.
type Cluster struct {
	address string
	dir     string // of the service account
	client  *http.Client
}

// InCluster returns the API server of the pod that we are in; dir is where the
// credentials of its service account are. Outside of a pod it is ErrNoCluster.
func InCluster(dir string) (*Cluster, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, ErrNoCluster
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("service account: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("service account: %s/ca.crt holds no certificate", dir)
	}
	return &Cluster{"https://" + net.JoinHostPort(host, port), dir, &http.Client{
		Timeout: patchTime,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, // the next request is minutes away
		},
	}}, nil
}

// label sets and removes labels of a node.
func (c *Cluster) label(ctx context.Context, node string, labels map[string]*string) error {
	patch, err := labelPatch(labels)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, c.address+"/api/v1/nodes/"+url.PathEscape(node), bytes.NewReader(patch))
	if err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(c.dir, "token")) // each time: it is renewed
	if err != nil {
		return fmt.Errorf("service account: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	r.Header.Set("Content-Type", "application/merge-patch+json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "hybrid-device-plugin")
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	var status struct{ Message string }
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if json.Unmarshal(body, &status) != nil || status.Message == "" {
		status.Message = "no reason given"
	}
	return fmt.Errorf("%s: %s", answer.Status, status.Message)
}
