package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hybrid-containers/hybrid/deviceplugin"
)

const manifests = "../../deploy/kubernetes"

// object is what is looked at of one in the manifests.
type object struct {
	Kind      string
	Metadata  struct{ Name, Namespace string }
	Resources []string // of the kustomization
	Handler   string
	// of a RuntimeClass
	Scheduling struct {
		NodeSelector map[string]string `yaml:"nodeSelector"`
	}
	// of the DaemonSet
	Spec struct {
		Template struct {
			Spec struct {
				ServiceAccountName string `yaml:"serviceAccountName"`
				Containers         []struct {
					Args         []string
					VolumeMounts []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
						ReadOnly  bool   `yaml:"readOnly"`
					} `yaml:"volumeMounts"`
				}
				Volumes []struct {
					Name     string
					HostPath struct{ Path string } `yaml:"hostPath"`
				}
			}
		}
	}
}

func objects(t *testing.T, name string) []object {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(manifests, name))
	if err != nil {
		t.Fatal(err)
	}
	var all []object
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, o)
	}
}

// The manifests and the program say the same. That Kubernetes takes them is tested with
// a real one, in test/kubernetes.
func TestManifests(t *testing.T) {
	var all []object
	listed := objects(t, "kustomization.yaml")[0].Resources
	for _, name := range listed {
		all = append(all, objects(t, name)...)
	}
	files, err := filepath.Glob(manifests + "/*.yaml")
	if err != nil || len(files) != len(listed)+1 {
		t.Errorf("%d files, %d are in the kustomization: %v", len(files), len(listed), err)
	}
	find := func(kind string) object {
		t.Helper()
		i := slices.IndexFunc(all, func(o object) bool { return o.Kind == kind })
		if i < 0 {
			t.Fatalf("no %s", kind)
		}
		return all[i]
	}
	class, account, set := find("RuntimeClass"), find("ServiceAccount"), find("DaemonSet")
	if class.Handler != "hybrid" || len(class.Scheduling.NodeSelector) != 1 || class.Scheduling.NodeSelector[deviceplugin.LabelRemoteproc] != "true" {
		t.Errorf("RuntimeClass: %+v", class)
	}
	// the admission policy is about this account
	policy, err := os.ReadFile(filepath.Join(manifests, "node-labels.yaml"))
	if name := "system:serviceaccount:" + account.Metadata.Namespace + ":" + account.Metadata.Name; err != nil || !strings.Contains(string(policy), name) || !strings.Contains(string(policy), deviceplugin.Domain) {
		t.Errorf("the policy is not about %s: %v", name, err)
	}
	pod := set.Spec.Template.Spec
	if pod.ServiceAccountName != account.Metadata.Name || set.Metadata.Namespace != account.Metadata.Namespace || find("Namespace").Metadata.Name != account.Metadata.Namespace {
		t.Errorf("DaemonSet %+v, account %+v", set.Metadata, account.Metadata)
	}
	o, err := parse(pod.Containers[0].Args)
	if err != nil {
		t.Fatal(err)
	}
	// what the program asks for is mounted, and nothing but its sockets can be changed
	paths := map[string]string{}
	for _, v := range pod.Volumes {
		paths[v.Name] = v.HostPath.Path
	}
	var mounted []string
	for _, m := range pod.Containers[0].VolumeMounts {
		host := paths[m.Name]
		mounted = append(mounted, host)
		switch {
		case m.MountPath == o.dir && host == o.dir:
		case m.MountPath != o.sysroot+host || !m.ReadOnly:
			t.Errorf("%s at %s", host, m.MountPath)
		}
	}
	slices.Sort(mounted)
	if want := []string{"/etc/hybrid", "/run/hybrid", "/sys", o.dir}; !slices.Equal(mounted, want) {
		t.Errorf("mounted %q, want %q", mounted, want)
	}
}
