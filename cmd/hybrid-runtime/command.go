package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/hybrid-containers/hybrid/runtime"
)

// The command line is parsed by package flag, as runc's is below its library: cobra
// and what it needs were a tenth of this program, and took a third of the time that
// a verb takes.

// verb is a subcommand.
type verb struct {
	name      string
	short     string      // one line of help
	usage     string      // what stands after the name
	arguments [][2]string // what help says of them: name, text
	least     int         // how many arguments at least
	most      int         // and at most; negative is any number
	more      bool        // help lists it after the others
	plain     bool        // options end at the first argument
	raw       bool        // everything is an argument
	options   func(*options)
	run       func(args []string) error
}

// verbs in the order of the help text. Only the one that is called makes its options.
func (a *app) verbs() []*verb {
	verbs := []*verb{
		a.create(), a.start(), a.state(), a.kill(), a.delete(), a.runVerb(), a.list(), a.logs(), a.inspect(), a.ps(), a.events(),
		a.features(), a.setup("install", "Add hybrid to the configuration of container engines"),
		a.setup("uninstall", "Take back what install did"), a.setup("doctor", "Look for what this board lacks"), a.help(),
	}
	for _, u := range unsupported {
		verbs = append(verbs, refuse(u.name, u.why, u.bools))
	}
	return verbs
}

// containerID is the usage of verbs that take one.
const containerID = "<CONTAINER_ID>"

// run runs a command line.
func (a *app) run(args []string) error {
	a.command, a.args = "hybrid-runtime", args
	global, showVersion := newOptions(), false
	a.options(global)
	global.bool(&showVersion, "version", "V", "Print version")
	global.alias("version", "v")
	rest, err := global.parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		a.writeHelp(a.out, nil)
		return nil
	case err != nil:
		return err
	case showVersion:
		fmt.Fprint(a.out, versionText())
		return nil
	case len(rest) == 0:
		a.writeHelp(a.errOut, nil)
		return usagef("no command given")
	}
	v := a.find(rest[0])
	if v == nil {
		return usagef("unrecognized command %q", rest[0])
	}
	a.command += " " + v.name
	own := newOptions()
	v.declare(own)
	a.options(own)
	ahead, behind := split(args[:len(args)-len(rest)], global, false), split(rest[1:], own, v.plain)
	handOver := func() error {
		return a.handOver(slices.Concat(ahead.forAll, behind.forAll, []string{v.name}, behind.rest))
	}
	if a.foreign(v.name, behind, own) {
		return handOver()
	}
	switch {
	case v.raw:
		return v.run(rest[1:])
	case v.plain:
		rest, err = own.parse(rest[1:])
	default:
		rest, err = own.parseAll(rest[1:])
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		a.writeHelp(a.out, v)
		return nil
	case err != nil:
		return err
	case a.logFormat != "text" && a.logFormat != "json":
		return usagef("--log-format %q: want text or json", a.logFormat)
	case len(rest) < v.least:
		return usagef("%s is missing", containerID)
	case len(rest) > v.most && v.most >= 0:
		return usagef("unexpected argument %q", rest[v.most])
	}
	err = v.run(rest)
	if errors.Is(err, runtime.ErrLinux) {
		return handOver()
	}
	return err
}

func (a *app) find(name string) *verb {
	verbs := a.verbs()
	if i := slices.IndexFunc(verbs, func(v *verb) bool { return v.name == name }); i >= 0 {
		return verbs[i]
	}
	return nil
}

// options of all verbs, which may stand before and after the verb.
func (a *app) options(o *options) {
	if a.logFormat == "" {
		a.logFormat, a.sysroot, a.delegate = "text", os.Getenv("HYBRID_SYSROOT"), os.Getenv("HYBRID_RUNTIME_DELEGATE")
	}
	o.string(&a.log, "log", "", "FILE", "File that errors are appended to")
	o.string(&a.logFormat, "log-format", "", "FORMAT", "Format of --log: text or json [default: text]")
	o.string(&a.root, "root", "", "DIR", "Folder of the containers' state [default: /run/hybrid/containers]")
	o.string(&a.sysroot, "sysroot", "", "DIR", "Folder that holds /sys, /dev, /run and /lib/firmware [env: HYBRID_SYSROOT]")
	o.string(&a.delegate, "runtime-delegate", "", "PROGRAM", "Runtime for Linux containers [default: runc or crun; env: HYBRID_RUNTIME_DELEGATE]")
	o.bool(&a.systemd, "systemd-cgroup", "", "The bundle's cgroup is SLICE:PREFIX:NAME, where systemd would put it")
	o.accept("debug")
	o.acceptValue("criu", "rootless")
}

func (v *verb) declare(o *options) {
	if v.options != nil {
		v.options(o)
	}
}
