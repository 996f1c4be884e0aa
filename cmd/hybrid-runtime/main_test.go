package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/image"
	"github.com/hybrid-containers/hybrid/runtime"
)

var update = flag.Bool("update", false, "write testdata/*.help anew")

// output runs a command line and returns what it prints to standard output.
func output(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := (&app{out: &out, errOut: &out}).run(args)
	return out.String(), err
}

// The help texts are what users and documents rely on.
func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"hybrid-runtime": {"--help"}, "create": {"create", "--help"}, "start": {"start", "-h"}, "state": {"help", "state"},
		"kill": {"kill", "--help"}, "delete": {"delete", "--help"}, "list": {"list", "--help"}, "logs": {"logs", "--help"}, "run": {"run", "-h"}, "inspect": {"help", "inspect"}, "ps": {"ps", "--help"},
		"events": {"events", "--help"}, "features": {"features", "-h"}, "help": {"help", "help"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := output(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".help")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// The sentences that the product was specified with.
func TestHelpSaysWhatWasPromised(t *testing.T) {
	for _, c := range []struct {
		args  []string
		lines []string
	}{
		{[]string{"help"}, []string{
			"Deploy an application across available embedded cores.", "Usage: hybrid-runtime <COMMAND>", "Commands:",
			"  create  Create a container", "  start   Start a created container", "  state   Output the state of a container",
			"  kill    terminates the container", "  delete  Deletes any resources held by the container",
			"  help    Print this message or the help of the given subcommand(s)", "Options:",
		}},
		{[]string{"create", "-h"}, []string{"Usage: hybrid-runtime create <--firmware <FIRMWARE>|--image <IMAGE>> <CONTAINER_ID>"}},
	} {
		got, err := output(t, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range c.lines {
			if !strings.Contains("\n"+got, "\n"+line+"\n") {
				t.Errorf("%q does not say %q but\n%s", c.args, line, got)
			}
		}
	}
	for _, c := range []struct{ verb, option, text string }{
		{"", "-h, --help", "Print help"},
		{"", "-V, --version", "Print version"},
		{"create", "-f, --firmware <FIRMWARE>", "Path to the firmware directory"},
		{"create", "-i, --image <IMAGE>", "Firmware container image name"},
		{"delete", "-f, --force", "Forcibly deletes the container if it is still running (using SIGKILL)"},
	} {
		got, err := output(t, strings.Fields("help "+c.verb)...)
		pattern := `(?m)^  ` + regexp.QuoteMeta(c.option) + ` +` + regexp.QuoteMeta(c.text) + `$`
		if err != nil || !regexp.MustCompile(pattern).MatchString(got) {
			t.Errorf("help %s lacks %q, %v:\n%s", c.verb, pattern, err, got)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, flag := range []string{"-V", "-v", "--version"} {
		got, err := output(t, flag)
		if err != nil || !strings.HasPrefix(got, "hybrid-runtime version ") || !strings.Contains(got, "\nspec: "+specs.Version+"\n") {
			t.Errorf("%s: %q, %v", flag, got, err)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for line, says := range map[string]string{
		"":                           "no command given",
		"fly":                        `unrecognized command "fly"`,
		"help fly":                   `unrecognized command "fly"`,
		"start":                      "<CONTAINER_ID> is missing",
		"start a b":                  `unexpected argument "b"`,
		"kill":                       "<CONTAINER_ID> is missing",
		"kill a b c":                 `unexpected argument "c"`,
		"kill a NONSENSE":            `no signal "NONSENSE"`,
		"delete --fast a":            "flag provided but not defined: -fast",
		"logs --tail x a":            `--tail "x": want a number of lines or all`,
		"logs -n -1 a":               `--tail "-1": want a number of lines or all`,
		"events --interval 0 a":      `--interval "0": want a duration`,
		"ps -f yaml a":               `--format "yaml": want table or json`,
		"run a":                      "want one of --firmware, --image and --bundle, got 0",
		"features a":                 `unexpected argument "a"`,
		"list a":                     `unexpected argument "a"`,
		"list --format xml":          `--format "xml": want table or json`,
		"create a":                   "want one of --firmware, --image and --bundle, got 0",
		"create -f x -i y a":         "want one of --firmware, --image and --bundle, got 2",
		"create --firmware= a":       "the path of the firmware, image or bundle is empty",
		"create -f x":                "<CONTAINER_ID> is missing",
		"--log-format yaml start a":  `--log-format "yaml": want text or json`,
		"state --log-format= --root": "flag needs an argument: -root",
	} {
		_, err := output(t, strings.Fields(line)...)
		if usage := (*usageError)(nil); !errors.As(err, &usage) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", line, err, says)
		}
	}
}

// What is not possible is said in one sentence, whatever the options are.
func TestUnsupported(t *testing.T) {
	for line, says := range map[string]string{
		"pause web":                          "pause is not possible: the kernel can start and stop a remote processor, not pause it",
		"resume web":                         "resume is not possible: ",
		"exec --process p.json -d web sh":    "exec is not possible: the firmware is all that runs on a remote processor",
		"update --resources - web":           "update is not possible: ",
		"checkpoint --image-path /tmp web":   "checkpoint is not possible: ",
		"restore -d --bundle . --work x web": "restore is not possible: ",
	} {
		out, err := output(t, strings.Fields(line)...)
		if usage := (*usageError)(nil); err == nil || errors.As(err, &usage) || !strings.HasPrefix(err.Error(), says) || out != "" {
			t.Errorf("%q: %v, %q", line, err, out)
		}
	}
}

func TestFeatures(t *testing.T) {
	out, err := output(t, "features")
	var f features.Features
	if err != nil || json.Unmarshal([]byte(out), &f) != nil || f.OCIVersionMin != "1.0.0" || f.OCIVersionMax != specs.Version {
		t.Errorf("%v, %s", err, out)
	}
	if len(f.Hooks) != 6 || f.Linux == nil || !slices.Contains(f.Linux.Namespaces, "network") || slices.Contains(f.Linux.Namespaces, "user") {
		t.Errorf("hooks %q, %+v", f.Hooks, f.Linux)
	}
	for _, key := range []string{image.KeyProcessor, runtime.KeyAttach, runtime.KeyOnStop, runtime.KeyCoredump, runtime.KeyHeartbeat, runtime.KeyConsole} {
		if !slices.ContainsFunc(f.PotentiallyUnsafeConfigAnnotations, func(unsafe string) bool {
			return key == unsafe || strings.HasSuffix(unsafe, ".") && strings.HasPrefix(key, unsafe)
		}) {
			t.Errorf("annotation %s may be an image's: %q", key, f.PotentiallyUnsafeConfigAnnotations)
		}
	}
}

// Spellings of runc, and of engines that think they call it.
func TestAsRunc(t *testing.T) {
	root := t.TempDir()
	for line, want := range map[string]string{
		"list -f json": "[]\n", "list -o json": "[]\n", "list --format json -q": "",
		"--rootless=true --criu /usr/sbin/criu --debug list -q": "", "--rootless auto list -f json": "[]\n",
	} {
		if got, err := output(t, append([]string{"--root", root}, strings.Fields(line)...)...); err != nil || got != want {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
}

// Without the program that has these verbs it is said which is missing.
func TestNoSetup(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, verb := range []string{"install", "uninstall", "doctor"} {
		if _, err := output(t, verb, "--dry-run"); !errors.Is(err, errNoSetup) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// full is a disk on which there is no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, unix.ENOSPC }

// What could not be written was not done.
func TestNoRoom(t *testing.T) {
	for _, line := range []string{"list", "list -q", "list -f json", "features"} {
		if err := (&app{out: full{}, errOut: full{}}).run(append([]string{"--root", t.TempDir()}, strings.Fields(line)...)); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if err := (&app{out: full{}}).writeProcesses("PID\n13\n", []int{13}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("ps: %v", err)
	}
}

func TestWriteProcesses(t *testing.T) {
	var out bytes.Buffer
	const ps = "UID   PID  PPID CMD\nroot   12     1 a 13\nroot   13     1 b\n\n"
	if err := (&app{out: &out}).writeProcesses(ps, []int{13}); err != nil || out.String() != "UID   PID  PPID CMD\nroot   13     1 b\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := (&app{out: &out}).writeProcesses("USER COMMAND\n", nil); err == nil {
		t.Error("no column PID, no error")
	}
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]unix.Signal{
		"TERM": unix.SIGTERM, "SIGTERM": unix.SIGTERM, "term": unix.SIGTERM, "sigKill": unix.SIGKILL, "15": unix.SIGTERM, "9": unix.SIGKILL, "0": 0, "1": 1, "64": 64,
	} {
		if got, err := parseSignal(s); got != want || err != nil {
			t.Errorf("%q is %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "65", "SIG", "SIGSIGTERM", "NONSENSE", "9x", "9223372036854775808"} {
		if got, err := parseSignal(s); err == nil {
			t.Errorf("%q is signal %d", s, got)
		}
	}
}

func TestLineError(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb":                     "a; b",
		`quote " and \ stay`:       `quote " and \ stay`,
		"an ellipsis… stays":       "an ellipsis… stays",
		"\x1b]0;title\x07 \x1b[2J": `\x1b]0;title\a \x1b[2J`,
		"a\tb\r\x00\x7f":           `a\tb\r\x00\x7f`,
		"\u009b2J \u202e \xff\xfe": `\u009b2J \u202e \xff\xfe`,
	} {
		if got := (&lineError{errors.New(text)}).Error(); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	err := &lineError{errors.Join(errors.New(`what "it" was <x>`), errors.New("and more"))}
	a := &app{log: filepath.Join(t.TempDir(), "log"), logFormat: "json"}
	a.report("error", err)
	a.report("error", err)
	b, rerr := os.ReadFile(a.log)
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if rerr != nil || len(lines) != 2 {
		t.Fatalf("%q, %v", b, rerr)
	}
	var entry struct{ Level, Msg, Time string }
	if err := json.Unmarshal([]byte(lines[1]), &entry); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.RFC3339, entry.Time); err != nil || entry.Level != "error" || entry.Msg != `what "it" was <x>; and more` {
		t.Errorf("%+v, %v", entry, err)
	}
	if info, err := os.Stat(a.log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	a = &app{log: filepath.Join(t.TempDir(), "log"), logFormat: "text"}
	a.report("error", err)
	b, _ = os.ReadFile(a.log)
	if !regexp.MustCompile(`^time="20[^"]*" level=error msg="what \\"it\\" was <x>; and more"\n$`).Match(b) {
		t.Errorf("%q", b)
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	err := writeTable(&out, []runtime.Entry{
		{
			State: specs.State{ID: "a-long-name", Status: specs.StateRunning, Bundle: "/b", Annotations: map[string]string{image.KeyProcessor: "remoteproc0", image.KeyMCU: "cortex-m4"}},
			Pid:   12, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		},
		{State: specs.State{ID: "b", Status: specs.StateStopped, Annotations: map[string]string{runtime.KeyExitCode: "139"}}},
		{State: specs.State{ID: "c"}},
	})
	const want = `ID            PID   STATUS          PROCESSOR     MCU         BUNDLE   CREATED
a-long-name   12    running         remoteproc0   cortex-m4   /b       2026-01-02T03:04:05Z
b             0     stopped (139)                                      ` + `
c             0     unreadable                                         ` + `
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}
