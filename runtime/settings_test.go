package runtime

import (
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/hybrid-containers/hybrid/runtime/bundle"
	"github.com/hybrid-containers/hybrid/runtime/claim"
)

func TestSettings(t *testing.T) {
	r := newRuntime(t)
	type m = map[string]string
	for name, c := range map[string]struct {
		o           CreateOptions
		annotations m
		env         []string
		image       bool // without a bundle
		want        settings
		attach      *claim.Attach
		err         string
	}{
		"nothing":                        {},
		"options":                        {o: CreateOptions{Attach: true, Coredump: "/d", Heartbeat: "5s"}, want: settings{coredump: "/d", heartbeat: 5 * time.Second}, attach: &claim.Attach{Detach: true}},
		"stop":                           {o: CreateOptions{Attach: true, OnStop: "stop"}, attach: &claim.Attach{}},
		"annotations":                    {annotations: m{KeyAttach: "true", KeyOnStop: "stop", KeyCoredump: "true", KeyHeartbeat: "1m"}, want: settings{coredump: r.Host.Root + "/var/lib/hybrid/coredumps", maxDumps: 8, heartbeat: time.Minute}, attach: &claim.Attach{}},
		"environment":                    {env: []string{"HYBRID_ATTACH=false", "HYBRID_HEARTBEAT=3s", "HYBRID_ATTACH=true", "HYBRID_ON_STOP=detach"}, want: settings{heartbeat: 3 * time.Second}, attach: &claim.Attach{Detach: true}},
		"annotation before environment":  {annotations: m{KeyHeartbeat: "1m"}, env: []string{"HYBRID_HEARTBEAT=2m"}, want: settings{heartbeat: time.Minute}},
		"option before annotation":       {o: CreateOptions{Heartbeat: "1s"}, annotations: m{KeyHeartbeat: "no"}, want: settings{heartbeat: time.Second}},
		"allocated":                      {env: []string{"HYBRID_RESOURCE=hybrid.dev/cortex-m4"}, want: settings{resource: "hybrid.dev/cortex-m4"}},
		"false":                          {annotations: m{KeyAttach: "false", KeyCoredump: "false"}, env: []string{"HYBRID_COREDUMP=true"}},
		"no folder from an image":        {annotations: m{KeyCoredump: "/etc/cron.d"}, err: `annotation hybrid.coredump: "/etc/cron.d": want true or false`},
		"no truth":                       {env: []string{"HYBRID_ATTACH=1"}, err: `environment variable HYBRID_ATTACH: "1": want true or false`},
		"no duration":                    {annotations: m{KeyHeartbeat: "5"}, err: `annotation hybrid.heartbeat: "5": want a duration of 500ms or more, as 5s`},
		"too short":                      {o: CreateOptions{Heartbeat: "1ms"}, err: `--heartbeat: "1ms": want`},
		"trace":                          {env: []string{"HYBRID_CONSOLE=trace"}, want: settings{traceOnly: true}},
		"all":                            {o: CreateOptions{Console: "all"}, annotations: m{KeyConsole: "trace"}},
		"another console":                {annotations: m{KeyConsole: "tty"}, err: `annotation hybrid.console: "tty": want all or trace`},
		"burn":                           {env: []string{"HYBRID_ON_STOP=burn"}, err: `environment variable HYBRID_ON_STOP: "burn": want detach or stop`},
		"stop: environment":              {env: []string{"HYBRID_ATTACH=true", "HYBRID_ON_STOP=stop"}, err: "environment variable HYBRID_ON_STOP: an image may not stop a core that a boot loader started: give the annotation hybrid.on-stop, or --on-stop stop"},
		"stop: an image's annotation":    {image: true, annotations: m{KeyAttach: "true", KeyOnStop: "stop"}, err: "annotation hybrid.on-stop: an image may not stop a core"},
		"stop: option before image":      {image: true, o: CreateOptions{Attach: true, OnStop: "stop"}, annotations: m{KeyOnStop: "detach"}, attach: &claim.Attach{}},
		"another key is somebody else's": {annotations: m{"hybrid.else": "x"}, env: []string{"HYBRID_ELSE=x", "HYBRID_HEARTBEATS=x"}},
	} {
		fw := &bundle.Firmware{Annotations: c.annotations, Env: c.env, Spec: &specs.Spec{}}
		if c.image {
			fw.Spec = nil
		}
		got, err := r.settings(c.o, fw)
		if c.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.err) {
				t.Errorf("%s: %v, want %s", name, err, c.err)
			}
			continue
		}
		attach := got.attach
		got.attach = nil
		if err != nil || got != c.want || (attach == nil) != (c.attach == nil) || (attach != nil && *attach != *c.attach) {
			t.Errorf("%s: %+v %+v, %v", name, got, attach, err)
		}
	}
}
