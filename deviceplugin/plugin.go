package deviceplugin

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// Plugin is a device plugin.
type Plugin struct {
	// Host is the system whose processors are offered.
	Host remoteproc.Host
	// Dir is where the kubelet has its socket for device plugins, and they have theirs.
	Dir string
	// Interval is the time after which the processors are looked at without a reason.
	Interval time.Duration
	// Server, unless nil, is who is told the labels of node Name.
	Server Node
	Name   string
	// Log is told what happens, a line each.
	Log func(string)

	before    inventory // as of the last look, if there was one
	looked    bool
	resources map[string]*resource
	servers   map[string]*server
	labeler   *labeler
	failed    map[string]string // what was logged last, by what failed
	attempts  map[string]attempt
}

// registerRetry is the time between attempts to register with one kubelet.
const registerRetry = time.Second

// Run offers the processors until the context ends, and leaves nothing.
func (p *Plugin) Run(ctx context.Context) error {
	if _, err := os.Stat(p.Dir); err != nil {
		return fmt.Errorf("the folder of the kubelet's device plugins: %w", err)
	}
	w, err := newWatch(p.Dir, p.Host)
	if err != nil {
		return fmt.Errorf("watch %s: %w", p.Dir, err)
	}
	defer w.close()
	p.resources, p.servers = map[string]*resource{}, map[string]*server{}
	p.failed, p.attempts = map[string]string{}, map[string]attempt{}
	defer func() {
		for _, s := range p.servers {
			s.close()
		}
	}()
	if p.Server != nil {
		ctx, cancel := context.WithCancel(ctx)
		p.labeler = newLabeler(p.Server, p.Name, p.Log)
		var labeler sync.WaitGroup
		labeler.Go(func() { p.labeler.run(ctx) })
		defer labeler.Wait()
		defer cancel()
	}

	released := make(chan struct{}, 1) // the kubelet has let go of a resource
	wake := func() {
		select {
		case released <- struct{}{}:
		default:
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-released:
		case <-timer.C:
		case <-w.w.Events:
		case err := <-w.w.Errors:
			p.note("watch", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		w.drain()
		p.offer(w)
		wait := p.Interval
		if again := p.registered(ctx, wake); again > 0 {
			wait = min(wait, again)
		}
		timer.Reset(wait)
	}
}

// offer looks, and says what has changed.
func (p *Plugin) offer(w *watch) {
	now, err := look(p.Host)
	for err == nil && w.follow(now.devices) {
		now, err = look(p.Host)
	}
	p.note("processors", err)
	if err != nil {
		return // what was is still the best guess
	}
	first := !p.looked
	p.looked = true
	for _, name := range now.resources() {
		if p.resources[name] == nil {
			p.resources[name] = newResource(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.resources)) { // also those that went: they are empty now
		r, devices := p.resources[name], now.of(name)
		for _, line := range news(name, p.before.of(name), devices) {
			p.Log(line)
		}
		r.set(devices)
	}
	if first && len(now.devices) == 0 {
		p.Log("no processor that firmware may be put on, so far")
	}
	labels := now.labels()
	if p.labeler != nil && (first || !sameLabels(labels, p.before.labels())) {
		p.labeler.set(labels)
	}
	p.before = now
}

func sameLabels(a, b map[string]*string) bool {
	return maps.EqualFunc(a, b, func(x, y *string) bool { return x == y || x != nil && y != nil && *x == *y })
}

// attempt is when, and with which kubelet, a resource was registered last.
type attempt struct {
	at      time.Time
	kubelet file
}

// registered makes the kubelet know all resources, and returns when to try again; 0 if
// it knows them. A kubelet that is new is told at once. The same one is not told
// twice a second: else two plugins that run by mistake would fight without a break.
func (p *Plugin) registered(ctx context.Context, wake func()) (again time.Duration) {
	anew := false
	for _, name := range slices.Sorted(maps.Keys(p.resources)) {
		s := p.servers[name]
		if s != nil && s.good(p.Dir) {
			continue
		}
		kubelet, last := kubeletOf(p.Dir), p.attempts[name]
		if wait := time.Until(last.at.Add(registerRetry)); kubelet == last.kubelet && wait > 0 {
			again = max(again, wait)
			continue
		}
		p.attempts[name] = attempt{time.Now(), kubelet}
		err := p.register(ctx, name, wake)
		if ctx.Err() != nil {
			return again
		}
		p.note(name, err)
		if err != nil {
			if kubelet != (file{}) { // else its socket wakes us
				again = registerRetry
			}
			continue
		}
		p.Log(name + ": registered with the kubelet")
		anew = true
	}
	if anew && p.labeler != nil { // its node may be a new one
		p.labeler.set(p.before.labels())
	}
	return again
}

// register tells the kubelet of a resource that it does not know.
func (p *Plugin) register(ctx context.Context, name string, wake func()) error {
	if err := answers(p.Dir); err != nil {
		return err
	}
	if s := p.servers[name]; s != nil {
		delete(p.servers, name)
		s.close()
	}
	s, err := listen(p.Dir, p.resources[name], wake)
	if err != nil {
		return err
	}
	if err := s.register(ctx, p.Dir, name); err != nil {
		s.close()
		return err
	}
	p.servers[name] = s
	return nil
}

// note logs a failure when it comes, not each time that it is still there.
func (p *Plugin) note(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != p.failed[what] {
		p.Log(text)
	}
	p.failed[what] = text
}
