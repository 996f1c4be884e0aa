package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("NODE_NAME", "")
	dir, account := t.TempDir(), t.TempDir()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		args        string
		cluster     bool
		code        int
		out, errOut string // what they start with
	}{
		"help":           {args: "--help", out: "Usage: hybrid-device-plugin [OPTIONS]\n"},
		"version":        {args: "--version", out: "hybrid-device-plugin version "},
		"unknown option": {args: "--labels", code: 2, errOut: "hybrid-device-plugin: flag provided but not defined: -labels (hybrid-device-plugin --help)\n"},
		"an argument":    {args: "x", code: 2, errOut: `hybrid-device-plugin: unexpected argument "x" (hybrid-device-plugin --help)` + "\n"},
		"too often":      {args: "--interval 1ms", code: 2, errOut: "hybrid-device-plugin: --interval=1ms: want 1s or more (hybrid-device-plugin --help)\n"},
		"no folder":      {args: "--no-labels --device-plugin-dir " + dir + "/none", code: 1, errOut: "hybrid-device-plugin: the folder of the kubelet's device plugins: stat " + dir + "/none: no such file or directory\n"},
		"no labels":      {args: "--no-labels --device-plugin-dir " + dir},
		"no cluster":     {args: "--device-plugin-dir " + dir, errOut: "hybrid-device-plugin: no labels are set: not in a pod: KUBERNETES_SERVICE_HOST is not set\n"},
		"no account":     {args: "--device-plugin-dir " + dir + " --service-account " + account, cluster: true, errOut: "hybrid-device-plugin: no labels are set: service account: open " + account + "/ca.crt: no such file or directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.cluster {
				t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
				t.Setenv("KUBERNETES_SERVICE_PORT", "1")
			}
			var out, errOut bytes.Buffer
			code := run(ended, strings.Fields(c.args), &out, &errOut)
			if code != c.code || !strings.HasPrefix(out.String(), c.out) || !strings.HasPrefix(errOut.String(), c.errOut) || (c.out == "") != (out.Len() == 0) || (c.errOut == "") != (errOut.Len() == 0) {
				t.Errorf("exit code %d, %q, %q", code, &out, &errOut)
			}
		})
	}
	if left, _ := filepath.Glob(dir + "/*"); left != nil {
		t.Errorf("left: %q", left)
	}
}

// Every option is in the help, and has the default that it says.
func TestHelp(t *testing.T) {
	t.Setenv("NODE_NAME", "n1")
	t.Setenv("HYBRID_SYSROOT", "")
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.node != "n1" || o.sysroot != "/" {
		t.Errorf("%+v", o)
	}
	for _, text := range []string{
		"--device-plugin-dir DIR", "(" + o.dir + ")", "--interval DURATION", "(" + o.interval.String() + ")", "--no-labels", "--node-name NAME",
		"--service-account DIR", "(" + o.account + ")", "--sysroot DIR", "--version",
	} {
		if !strings.Contains(help, text) {
			t.Errorf("no %q in the help", text)
		}
	}
	t.Setenv("HYBRID_SYSROOT", os.TempDir())
	if o, err = parse(nil); err != nil || o.sysroot != os.TempDir() {
		t.Errorf("%+v, %v", o, err)
	}
}
