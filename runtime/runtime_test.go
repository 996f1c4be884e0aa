package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/runtime/monitor"
	"github.com/hybrid-containers/hybrid/runtime/process"
)

// newRuntime is a runtime on a system without processors.
func newRuntime(t *testing.T) *Runtime {
	t.Helper()
	r, err := New("", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(r.Root, 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

// put makes the folder of a container with this record.
func put(t *testing.T, r *Runtime, id, record string) {
	t.Helper()
	if err := os.Mkdir(r.dir(id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir(id), recordFile), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stopped is the record of a container whose monitor is gone.
func stopped(t *testing.T, id string) string {
	t.Helper()
	return recordOf(t, id, process.Identity{PID: os.Getpid(), Start: 1})
}

// living is the record of a container whose monitor lives: this process.
func living(t *testing.T, id string) string {
	t.Helper()
	self, err := process.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return recordOf(t, id, self)
}

func recordOf(t *testing.T, id string, m process.Identity) string {
	t.Helper()
	b, err := json.Marshal(record{
		Version: "1.2.0", ID: id, Bundle: "/bundle", Created: time.Unix(1, 0), Board: "imx8m-mini", MCU: "cortex-m4",
		Processor: "remoteproc0", Digest: "sha256:abc", Monitor: m,
		Annotations: map[string]string{"note": "kept", image.KeyProcessor: "a pin", KeyExitCode: "7"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNew(t *testing.T) {
	r, err := New("", "")
	if err != nil || r.Root != "/run/hybrid/containers" || r.Host.Root != "/" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = New("/a/../b", "/sys/root/"); err != nil || r.Root != "/b" || r.Host.Root != "/sys/root" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = New("", "/sim"); err != nil || r.Root != "/sim/run/hybrid/containers" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestCheckID(t *testing.T) {
	for _, good := range []string{"a", "web", "a.b", "..a", "...", "A_z+0-9.", "-", strings.Repeat("x", maxID)} {
		if err := checkID(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/", "a b", "a\n", "a\x00", "@making-1", "ä", "a:b", "~", strings.Repeat("x", maxID+1)} {
		if err := checkID(bad); err == nil {
			t.Errorf("%q is an ID", bad)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: more than a line: %v", bad, err)
		}
	}
}

func TestState(t *testing.T) {
	r := newRuntime(t)
	put(t, r, "web", stopped(t, "web"))
	s, err := r.State("web")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(s)
	const want = `{"ociVersion":"1.2.0","id":"web","status":"stopped","bundle":"/bundle","annotations":{` +
		`"board":"imx8m-mini","hybrid.firmware.digest":"sha256:abc","mcu":"cortex-m4","note":"kept","remoteproc.name":"remoteproc0"}}`
	if err != nil || string(got) != want {
		t.Errorf("state %s, %v, want %s", got, err, want)
	}
	list, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(list); err != nil || !strings.Contains(string(got), `},"pid":0,"created":"`) {
		t.Errorf("list %s, %v: want no process to be 0, as runc prints it", got, err)
	}
	if err := monitor.WriteExit(r.dir("web"), monitor.Exit{Code: 139, Reason: "crashed"}); err != nil {
		t.Fatal(err)
	}
	if err := monitor.WriteExit(r.dir("web"), monitor.Exit{Code: 0, Reason: "second"}); err != nil {
		t.Fatal(err)
	}
	if s, err = r.State("web"); err != nil || s.Annotations[KeyExitCode] != "139" || s.Annotations[KeyExitReason] != "crashed" {
		t.Errorf("exit %v, %v", s.Annotations, err)
	}
}

// What verbs say of a container that is stopped, and of none.
func TestVerbsOnStopped(t *testing.T) {
	r := newRuntime(t)
	put(t, r, "web", stopped(t, "web"))
	if err := r.Start("web"); err == nil || err.Error() != "cannot start container web: it is stopped" {
		t.Errorf("start: %v", err)
	}
	for _, s := range []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGWINCH} {
		if err := r.Kill("web", s); !errors.Is(err, ErrNotRunning) {
			t.Errorf("kill: %v", err)
		}
	}
	if err := r.Delete("web", false); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := r.Delete("web", true); err != nil {
		t.Errorf("delete --force of none: %v", err)
	}
	for verb, err := range map[string]error{
		"start": r.Start("web"), "kill": r.Kill("web", unix.SIGKILL), "delete": r.Delete("web", false), "logs": r.Logs(t.Context(), "web", LogOptions{}, nil, nil),
	} {
		if !errors.Is(err, ErrNotExist) || !strings.Contains(err.Error(), "container web does not exist (in ") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	for verb, err := range map[string]error{"kill": r.Kill("../x", 9), "delete": r.Delete("../x", true), "start": r.Start("")} {
		if err == nil || !strings.Contains(err.Error(), "container id") {
			t.Errorf("%s of what is no ID: %v", verb, err)
		}
	}
}

// A monitor whose process cannot be seen, and that holds its processor, lives: its
// container is neither stopped nor given up.
func TestMonitorUnseen(t *testing.T) {
	r := newRuntime(t)
	put(t, r, "web", stopped(t, "web"))
	processors := filepath.Join(r.Host.Root, "run/hybrid/processors")
	class := filepath.Join(r.Host.Root, "sys/class/remoteproc/remoteproc0")
	for name, text := range map[string]string{
		filepath.Join(processors, "remoteproc0.json"): fmt.Sprintf(`{"id":"web","root":%q}`, r.Root),
		filepath.Join(processors, "remoteproc0.lock"): "",
		filepath.Join(class, "state"):                 "running\n",
		filepath.Join(class, "name"):                  "m4\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(filepath.Join(processors, "remoteproc0.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if s, err := r.State("web"); err != nil || s.Status != specs.StateRunning {
		t.Errorf("state %+v, %v", s, err)
	}
	want := fmt.Sprintf("container web: its monitor (process %d) lives, and cannot be seen from here "+
		"(mount /proc, and use the PID namespace in which it was created)", os.Getpid())
	for verb, err := range map[string]error{"kill": r.Kill("web", unix.SIGTERM), "delete --force": r.Delete("web", true)} {
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if err := r.Delete("web", false); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Errorf("delete: %v", err)
	}
	if err := os.WriteFile(filepath.Join(class, "state"), []byte("crashed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete("web", false); err == nil || err.Error() != want {
		t.Errorf("delete of what has crashed: %v", err)
	}
	if !r.Owns("web") {
		t.Error("the container was removed")
	}
}

// A container that was handed over is not damaged, and nobody is told to delete it.
func TestHandedOver(t *testing.T) {
	for _, file := range []string{"state.json", "status"} {
		r := newRuntime(t)
		if err := os.MkdirAll(r.dir("linux"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.dir("linux"), file), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, ierr := r.Inspect("linux")
		for verb, err := range map[string]error{"inspect": ierr, "logs": r.Logs(t.Context(), "linux", LogOptions{}, nil, nil)} {
			if want := "container linux is another runtime's, as runc or crun: ask the engine that runs it"; err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", verb, err, want)
			}
		}
	}
}

// What may not be read is not damaged.
func TestNotAllowed(t *testing.T) {
	r := newRuntime(t)
	put(t, r, "web", stopped(t, "web"))
	if err := os.Chmod(r.Root, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(r.Root, 0o700)
	if os.Geteuid() == 0 {
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	_, serr := r.State("web")
	for verb, err := range map[string]error{"state": serr, "kill": r.Kill("web", unix.SIGTERM), "start": r.Start("web"), "logs": r.Logs(t.Context(), "web", LogOptions{}, nil, nil)} {
		if !errors.Is(err, os.ErrPermission) || !strings.HasSuffix(err.Error(), "permission denied (run hybrid-runtime as root)") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	for verb, err := range map[string]error{"delete": r.Delete("web", false), "delete --force": r.Delete("web", true)} {
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestDamaged(t *testing.T) {
	r := newRuntime(t)
	records := map[string]string{
		"empty": "", "cut": `{"id": "cut"`, "type": `{"id": 1}`, "null": "null",
		"other": stopped(t, "web"), "path": strings.Replace(stopped(t, "path"), "remoteproc0", "../../../etc", 1),
	}
	for id, content := range records {
		put(t, r, id, content)
	}
	if err := os.Mkdir(r.dir("nothing"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, rubbish := range []string{"a b", "@x", ".hidden~"} {
		if err := os.Mkdir(r.dir(rubbish), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(r.dir("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.ID+" "+string(e.Status))
	}
	if want := []string{"cut ", "empty ", "nothing ", "null ", "other ", "path stopped", "type "}; !slices.Equal(got, want) {
		t.Errorf("list %q, want %q", got, want)
	}
	for _, id := range []string{"empty", "cut", "type", "null", "other", "nothing"} {
		if _, err := r.State(id); err == nil || !strings.HasSuffix(err.Error(), "(hybrid-runtime delete --force "+id+")") || strings.Contains(err.Error(), "\n") {
			t.Errorf("state of %s: %v", id, err)
		}
		if err := r.Delete(id, false); err == nil {
			t.Errorf("%s was deleted without force", id)
		}
		if err := r.Delete(id, true); err != nil || exists(r.dir(id)) {
			t.Errorf("delete --force %s: %v", id, err)
		}
	}
	if err := r.Delete("path", false); err != nil {
		t.Error(err)
	}
	if err := r.Delete("file", true); err != nil || exists(r.dir("file")) {
		t.Errorf("delete --force of a file: %v", err)
	}
}

func TestNoRoot(t *testing.T) {
	r, err := New(filepath.Join(t.TempDir(), "not/there"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if list, err := r.List(); len(list) != 0 || err != nil {
		t.Errorf("list %v, %v", list, err)
	}
	if exists(r.Root) {
		t.Error("a list made the root folder")
	}
}

// What killed commands left is swept; what others are making is not.
func TestSweep(t *testing.T) {
	r := newRuntime(t)
	dir, lock, err := r.newFolder("web")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{makingPrefix + "1", removingPrefix + "web-12"} {
		put(t, r, name, "{")
	}
	r.sweep()
	entries, err := os.ReadDir(r.Root)
	if err != nil || len(entries) != 1 || r.dir(entries[0].Name()) != dir {
		t.Errorf("left %v, %v", entries, err)
	}
	lock.Close()
	r.sweep()
	if exists(dir) {
		t.Error("a folder whose maker is gone was left")
	}
}

// Of two who create a container of one ID, one gets no further than its folder; what a
// killed one left is taken over.
func TestNewFolder(t *testing.T) {
	r := newRuntime(t)
	const refusal = "container with id exists: web (hybrid-runtime delete web)"
	put(t, r, makingPrefix+"web", "{")
	dir, lock, err := r.newFolder("web")
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it holds %v, %v", entries, err)
	}
	if _, _, err := r.newFolder("web"); err == nil || err.Error() != refusal {
		t.Errorf("a second one: %v", err)
	}
	time.AfterFunc(100*time.Millisecond, func() {
		if err := r.show(dir, "web"); err != nil {
			t.Error(err)
		}
		lock.Close()
	})
	if _, _, err := r.newFolder("web"); err == nil || err.Error() != refusal {
		t.Errorf("a third one, as the first becomes visible: %v", err)
	}
	if exists(r.dir(makingPrefix + "web")) {
		t.Error("the third one left its folder")
	}
}

func TestShow(t *testing.T) {
	r := newRuntime(t)
	put(t, r, "web", stopped(t, "web"))
	dir, lock, err := r.newFolder("web2")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := r.show(dir, "web"); err == nil || err.Error() != "container with id exists: web (hybrid-runtime delete web)" {
		t.Errorf("show: %v", err)
	}
	if err := r.show(dir, "web2"); err != nil || !exists(r.dir("web2")) || exists(dir) {
		t.Errorf("show: %v", err)
	}
}

// A delete that waited for another one must not take the next container of the name.
func TestDeleteWaitsForTheSame(t *testing.T) {
	r := newRuntime(t)
	put(t, r, "web", stopped(t, "web"))
	first, err := lockFolder(r.dir("web"), unix.LOCK_NB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFolder(r.dir("web"), unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Fatalf("two have the lock: %v", err)
	}
	second := make(chan error)
	go func() { second <- r.Delete("web", false) }()
	// the kernel lists who waits for a lock after the one who has it: proc_locks(5)
	waits := regexp.MustCompile(fmt.Sprintf(`-> FLOCK +ADVISORY +WRITE %d `, os.Getpid()))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		if waits.Match(locks) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the second delete does not wait:\n%s", locks)
		}
	}
	if err := r.remove("web"); err != nil {
		t.Fatal(err)
	}
	put(t, r, "web", stopped(t, "web"))
	first.Close()
	if err := <-second; !errors.Is(err, ErrNotExist) || !exists(r.dir("web")) {
		t.Errorf("delete: %v; the next container is there: %v", err, exists(r.dir("web")))
	}
}

func TestWritePID(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pid")
	if err := writePID(name, 42); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); string(b) != "42" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(other, filepath.Join(filepath.Dir(name), fmt.Sprintf(".pid.%d", os.Getpid()))); err != nil {
		t.Fatal(err)
	}
	if err := writePID(name, 43); err != nil || exists(other) {
		t.Errorf("%v; it was written through a link: %v", err, exists(other))
	}
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the PID file is %v, %v", info, err)
	}
	if err := writePID(filepath.Join(name, "below"), 42); err == nil || !strings.HasPrefix(err.Error(), "write the PID file: ") {
		t.Errorf("%v", err)
	}
}

func TestCreateWithoutProcessors(t *testing.T) {
	r := newRuntime(t)
	err := r.Create(t.Context(), "web", CreateOptions{Firmware: "/nothing"})
	if err == nil || !strings.Contains(err.Error(), "this kernel shows no remote processors") {
		t.Errorf("%v", err)
	}
	put(t, r, "web", stopped(t, "web"))
	if exists := (*ExistsError)(nil); !errors.As(r.Create(t.Context(), "web", CreateOptions{}), &exists) || exists.ID != "web" {
		t.Error("an ID was taken twice")
	}
	if list, err := r.List(); len(list) != 1 || list[0].Status != specs.StateStopped || err != nil {
		t.Errorf("list %v, %v", list, err)
	}
}
