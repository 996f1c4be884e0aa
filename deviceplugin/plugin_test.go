package deviceplugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/claim"
)

const m4 = "hybrid.dev/cortex-m4"

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

// count is how often a line was logged that holds text.
func (l *lines) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// running is a plugin that runs.
type running struct {
	*Plugin
	log  *lines
	stop func() // and wait
}

// start runs a plugin until the end of the test, which wants it to leave nothing. Its
// interval is longer than the test, unless tick is set: what is seen was waked for.
func start(t *testing.T, d *desk, dir string, tick time.Duration, node Node) *running {
	t.Helper()
	if tick == 0 {
		tick = time.Hour
	}
	log := &lines{}
	r := &running{Plugin: &Plugin{Host: d.host(), Dir: dir, Interval: tick, Server: node, Name: "node", Log: log.add}, log: log}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				buf := make([]byte, 1<<20)
				t.Fatalf("it does not end\n%s", buf[:runtime.Stack(buf, true)])
			}
			if sockets, _ := filepath.Glob(filepath.Join(dir, "hybrid*")); len(sockets) > 0 {
				t.Errorf("left: %q", sockets)
			}
		})
	}
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return r
}

func TestPlugin(t *testing.T) {
	d, dir := newDesk(t, "fsl,imx8qm-mek fsl,imx8qm", first, other), t.TempDir()
	k := startKubelet(t, dir)
	r := start(t, d, dir, 0, nil)
	k.want(m4, "imx8qm-cm4-0=Healthy imx8qm-cm4-1=Healthy")

	got, err := k.allocate(m4, "imx8qm-cm4-1")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ got, want map[string]string }{
		"environment": {got.Envs, map[string]string{"HYBRID_PROCESSOR": "imx8qm-cm4-1", "HYBRID_RESOURCE": m4}},
		"annotations": {got.Annotations, map[string]string{"remoteproc.name": "imx8qm-cm4-1", "hybrid.resource": m4}},
	} {
		if !maps.Equal(c.got, c.want) {
			t.Errorf("%s %v, want %v", what, c.got, c.want)
		}
	}
	if len(got.Devices)+len(got.Mounts)+len(got.CdiDevices) > 0 {
		t.Errorf("more than asked for: %v", got)
	}
	if _, err := k.allocate(m4, "imx8qm-cm4-0", "imx8qm-cm4-1"); err == nil || !strings.Contains(err.Error(), "ask for hybrid.dev/cortex-m4: 1, not 2") {
		t.Errorf("two for one: %v", err)
	}
	if _, err := k.allocate(m4, "remoteproc7"); err == nil || !strings.Contains(err.Error(), "there is no processor remoteproc7 any more") {
		t.Errorf("no such processor: %v", err)
	}

	// what the kubelet has allocated is no news
	_, before := k.count(m4)
	mine := d.take("remoteproc1", "pod", m4)
	d.state("remoteproc1", "running")
	// what somebody else takes is
	c := d.take("remoteproc0", "web", "")
	k.want(m4, "imx8qm-cm4-0=Unhealthy imx8qm-cm4-1=Healthy")
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	k.want(m4, "imx8qm-cm4-0=Healthy imx8qm-cm4-1=Healthy")
	if registers, lists := k.count(m4); registers != 1 || lists != before+2 {
		t.Errorf("%d registrations, %d lists, want 1 and %d", registers, lists, before+2)
	}
	d.state("remoteproc1", "offline")
	if err := mine.Release(); err != nil {
		t.Fatal(err)
	}
	// somebody starts one by hand
	d.state("remoteproc0", "running")
	k.want(m4, "imx8qm-cm4-0=Unhealthy imx8qm-cm4-1=Healthy")
	d.state("remoteproc0", "offline")
	k.want(m4, "imx8qm-cm4-0=Healthy imx8qm-cm4-1=Healthy")
	r.stop()
	const says = "hybrid.dev/cortex-m4 imx8qm-cm4-0 (remoteproc0): unhealthy: container web of /run/x has it, which did not ask Kubernetes"
	if r.log.count(says) != 1 {
		t.Errorf("log without %q", says)
	}
}

// Processors come and go; a kind that has gone is there with none.
func TestHotplug(t *testing.T) {
	d, dir := newDesk(t, "ti,am642-evm ti,am642"), t.TempDir()
	k := startKubelet(t, dir)
	node := &fakeNode{got: make(chan string)}
	r := start(t, d, dir, 20*time.Millisecond, node)
	node.want(t, "node {}")
	d.plug("remoteproc0", r5)
	k.want("hybrid.dev/cortex-r5", "r5f@78000000=Healthy")
	node.want(t, `node {"hybrid.dev/board":"am642-evm","hybrid.dev/cortex-r5":"true","hybrid.dev/remoteproc":"true"}`)
	d.plug("remoteproc1", m4f)
	k.want(m4, "m4fss@5000000=Healthy")
	d.unplug("remoteproc0")
	k.want("hybrid.dev/cortex-r5", "")
	k.want(m4, "m4fss@5000000=Healthy")
	d.unplug("remoteproc1")
	k.want(m4, "")
	for got := ""; got != "node {}"; {
		select {
		case got = <-node.got:
		case <-time.After(10 * time.Second):
			t.Fatal("the labels stay")
		}
	}
	// the number is another one now, the name is not
	d.plug("remoteproc5", m4f)
	k.want(m4, "m4fss@5000000=Healthy")
	if registers, _ := k.count(m4); registers != 2 {
		t.Errorf("%d registrations, want one for each kind", registers)
	}
	if r.log.count("m4fss@5000000 (remoteproc1): gone") != 1 || r.log.count("no processor that firmware may be put on, so far") != 1 {
		t.Error("not logged")
	}
	go func() { // labels of the last change, if they come
		for range node.got {
		}
	}()
	r.stop()
	close(node.got)
}

func TestKubeletRestarts(t *testing.T) {
	d, dir := newDesk(t, "fsl,imx8mm-evk fsl,imx8mm", mini), t.TempDir()
	r := start(t, d, dir, 0, nil)
	eventually(t, func() error {
		if r.log.count("no such file") != 1 {
			return errors.New("it does not say that there is no kubelet")
		}
		return nil
	})
	if sockets, _ := filepath.Glob(filepath.Join(dir, "*")); len(sockets) > 0 {
		t.Errorf("%q without a kubelet", sockets)
	}
	for n := range 3 {
		k := startKubelet(t, dir) // removes what is in the folder, the plugin's socket too
		k.want(m4, "imx8mm-cm4=Healthy")
		if n == 1 { // it ends, and the next one comes when the plugin has missed it
			missed := func() int { return r.log.count("no such file") + r.log.count("connection refused") }
			before := missed()
			k.end()
			eventually(t, func() error {
				if missed() == before {
					return errors.New("it does not say that the kubelet has gone")
				}
				return nil
			})
		}
		if n < 2 {
			k.end()
		}
	}
	// it has logged each failure once, and it did not get stuck in trying
	if n := r.log.count("connection refused"); n > 3 {
		t.Errorf("%d times: connection refused", n)
	}
}

// Somebody removes the plugin's socket under a kubelet that stays.
func TestSocketRemoved(t *testing.T) {
	d, dir := newDesk(t, "fsl,imx8mm-evk fsl,imx8mm", mini), t.TempDir()
	k := startKubelet(t, dir)
	start(t, d, dir, 0, nil)
	k.want(m4, "imx8mm-cm4=Healthy")
	if err := os.Remove(socketName(dir, m4)); err != nil {
		t.Fatal(err)
	}
	k.wantRegistered(m4, 2)
	k.want(m4, "imx8mm-cm4=Healthy")
}

// The kubelet lets go of a resource, and lives.
func TestStreamEnds(t *testing.T) {
	d, dir := newDesk(t, "fsl,imx8mm-evk fsl,imx8mm", mini), t.TempDir()
	k := startKubelet(t, dir)
	start(t, d, dir, 0, nil)
	k.want(m4, "imx8mm-cm4=Healthy")
	k.mu.Lock()
	k.endpoints[m4].cancel()
	k.mu.Unlock()
	k.wantRegistered(m4, 2)
	k.want(m4, "imx8mm-cm4=Healthy")
}

func TestKubeletRefuses(t *testing.T) {
	d, dir := newDesk(t, "fsl,imx8mm-evk fsl,imx8mm", mini), t.TempDir()
	k := startKubelet(t, dir)
	k.refuse = errors.New("no such version")
	r := start(t, d, dir, 0, nil)
	eventually(t, func() error {
		if n, _ := k.count(m4); n < 2 {
			return fmt.Errorf("%d registrations", n)
		}
		return nil
	})
	if n := r.log.count("no such version"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	k.mu.Lock()
	k.refuse = nil
	k.mu.Unlock()
	k.want(m4, "imx8mm-cm4=Healthy")
}

// A plugin that was killed leaves its socket, and two at once do not race each other.
func TestSecondPlugin(t *testing.T) {
	d, dir := newDesk(t, "fsl,imx8mm-evk fsl,imx8mm", mini), t.TempDir()
	k := startKubelet(t, dir)
	if err := os.WriteFile(socketName(dir, m4), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	one := start(t, d, dir, 0, nil)
	k.want(m4, "imx8mm-cm4=Healthy")
	two := &Plugin{Host: d.host(), Dir: dir, Interval: time.Hour, Log: (&lines{}).add}
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	if err := two.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n, _ := k.count(m4); n > 8 {
		t.Errorf("%d registrations in 2.5 s", n)
	}
	k.want(m4, "imx8mm-cm4=Healthy") // the first is still there
	one.stop()
}

// The API server is not needed, and is asked again.
func TestLabelsFail(t *testing.T) {
	d, dir := newDesk(t, "fsl,imx8mm-evk fsl,imx8mm", mini), t.TempDir()
	k := startKubelet(t, dir)
	node := &fakeNode{got: make(chan string, 9), fail: make(chan error, 9)}
	node.fail <- errors.New("403 Forbidden")
	r := start(t, d, dir, 0, node)
	k.want(m4, "imx8mm-cm4=Healthy")
	// set when it starts, and again when it has registered
	const all = `node {"hybrid.dev/board":"imx8m-mini","hybrid.dev/cortex-m4":"true","hybrid.dev/remoteproc":"true"}`
	node.want(t, all)
	if r.log.count("labels of node node: 403 Forbidden") != 1 {
		t.Error("not logged")
	}
	// a kubelet that starts may have made the node anew
	k.end()
	for len(node.got) > 0 {
		<-node.got
	}
	startKubelet(t, dir).want(m4, "imx8mm-cm4=Healthy")
	node.want(t, all)
}

func TestNoFolder(t *testing.T) {
	p := &Plugin{Host: newDesk(t, "fsl,imx8mm-evk").host(), Dir: filepath.Join(t.TempDir(), "none"), Interval: time.Hour, Log: func(string) {}}
	if err := p.Run(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "the folder of the kubelet's device plugins: ") {
		t.Errorf("%v", err)
	}
}

// A plugin leaves no goroutine and no descriptor, however often kubelets come and go.
func TestLeaks(t *testing.T) {
	d, dir := newDesk(t, "fsl,imx8qm-mek fsl,imx8qm", first, other), t.TempDir()
	round := func() {
		ctx, cancel := context.WithCancel(t.Context())
		p := &Plugin{Host: d.host(), Dir: dir, Interval: time.Hour, Log: func(string) {}, Server: &fakeNode{got: make(chan string, 99)}}
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		for range 2 {
			k := startKubelet(t, dir)
			k.want(m4, "imx8qm-cm4-0=Healthy imx8qm-cm4-1=Healthy")
			k.end()
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	round() // what grpc keeps for ever
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 4 {
		round()
	}
	eventually(t, func() error {
		if now := runtime.NumGoroutine(); now > goroutines {
			buf := make([]byte, 1<<20)
			return fmt.Errorf("%d goroutines, %d before\n%s", now, goroutines, bytes.TrimRight(buf[:runtime.Stack(buf, true)], "\x00"))
		}
		if now := openFiles(t); now > files {
			return fmt.Errorf("%d open files, %d before", now, files)
		}
		return nil
	})
	if _, err := os.Stat(claim.NewStore(d.host()).Dir()); !os.IsNotExist(err) {
		t.Errorf("it made the folder of the claims: %v", err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
