package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string]string{
		"start web": "web", "start": "", "start --systemd-cgroup web": "web",
		"state -- web": "web", "state --": "",
		"kill web 9": "web", "kill --all web KILL": "web", "kill -a web": "web",
		"delete --force web": "web", "delete -f web": "web", "delete web -f": "web",
		"ps --format json web": "web", "ps --format=json web -ef": "web", "ps web": "web",
		"events --stats web": "web", "events --interval 1s --stats web": "web",
		"exec -t --cwd / -e A=b web ls -l": "web", "exec --process p.json -d --pid-file=f web": "web",
		"update --memory 5 web": "web", "update -r - web": "web",
		"checkpoint --image-path /x --leave-running web": "web",
		"pause web": "web", "exec -t": "", "exec -t --root /r web --root x": "web", "state --root web": "",
		"state --root /r web": "web", "delete --root=/r --force web": "web", "ps --root /r web --root x": "web",
	} {
		a, args, own := &app{}, strings.Fields(line), newOptions()
		v := a.find(args[0])
		v.declare(own)
		a.options(own)
		if got := split(args[1:], own, v.plain).id; got != want {
			t.Errorf("%q is about %q, want %q", line, got, want)
		}
	}
}

// A Linux container's runtime gets the command line without what is only ours.
func TestHandOver(t *testing.T) {
	if os.Getenv("HAND_OVER") != "" {
		a := &app{out: os.Stdout, errOut: os.Stderr}
		os.Exit(a.exit(a.run(strings.Split(os.Getenv("HAND_OVER"), " "))))
	}
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	runc := write("runc", "#!/bin/sh\necho \"$@\" $HAND_OVER_TOO\nexit 7\n", 0o755)
	write("root/linux/state.json", "{}", 0o600)
	write("bundle/rootfs/app", "#!/bin/sh\n", 0o755)
	write("bundle/config.json", `{"ociVersion": "1.0.2", "process": {"args": ["/app"], "cwd": "/"}, "root": {"path": "rootfs"}}`, 0o600)
	root, bundle := dir+"/root", dir+"/bundle"
	run := func(line string) (string, int) {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run=^TestHandOver$")
		cmd.Env = append(os.Environ(), "HAND_OVER="+line, "HAND_OVER_TOO=env", "PATH="+dir+"/none")
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
	}
	options := "--runtime-delegate " + runc + " --sysroot=" + dir + "/sys --root " + root
	for line, want := range map[string]string{
		options + " --log x --log-format json start linux":                      "--root " + root + " --log x --log-format json start linux env",
		options + " --log sysroot start linux":                                  "--root " + root + " --log sysroot start linux env",
		options + " exec linux ls --sysroot x":                                  "--root " + root + " exec linux ls --sysroot x env",
		options + " kill --all linux 9":                                         "--root " + root + " kill --all linux 9 env",
		options + " delete --force linux":                                       "--root " + root + " delete --force linux env",
		options + " create --bundle " + bundle + " --no-pivot --pid-file p new": "--root " + root + " create --bundle " + bundle + " --no-pivot --pid-file p new env",
		options + " run -d --bundle " + bundle + " new":                         "--root " + root + " run -d --bundle " + bundle + " new env",
		// ours may stand behind the verb, theirs may not
		"create --bundle " + bundle + " " + options + " --systemd-cgroup --pid-file --root new": "--root " + root + " --systemd-cgroup create --bundle " + bundle + " --pid-file --root new env",
		"state " + options + " linux":                                          "--root " + root + " state linux env",
		"state linux " + options:                                               "--root " + root + " state linux env",
		"delete --force " + options + " linux":                                 "--root " + root + " delete --force linux env",
		"kill --log x " + options + " --all linux 9":                           "--log x --root " + root + " kill --all linux 9 env",
		"pause linux " + options:                                               "--root " + root + " pause linux env",
		"ps " + options + " -f json linux -o sysroot":                          "--root " + root + " ps -f json linux -o sysroot env",
		"exec -t " + options + " --cwd / linux ls --root x":                    "--root " + root + " exec -t --cwd / linux ls --root x env",
		"run --log=x --runtime-delegate=" + runc + " -b " + bundle + " -- new": "--log=x run -b " + bundle + " -- new env",
	} {
		if got, code := run(line); got != want || code != 7 {
			t.Errorf("%q: exit code %d\n%s\nwant\n%s", line, code, got, want)
		}
	}
	if got, code := run("--root " + root + " start linux"); code != 1 ||
		got != "hybrid-runtime: this is a Linux container, not firmware: neither runc nor crun is in PATH (--runtime-delegate PROGRAM)" {
		t.Errorf("without one: exit code %d, %s", code, got)
	}
	for line, want := range map[string]string{"delete --force none": "", "list -q": ""} {
		if got, code := run(options + " " + line); code != 0 || got != want {
			t.Errorf("%q: exit code %d, %s", line, code, got)
		}
	}
}
