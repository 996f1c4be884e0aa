// Command hybrid-device-plugin offers a board's remote processors to Kubernetes: what
// it does is package deviceplugin.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/hybrid-containers/hybrid/deviceplugin"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

// version is set when a release is linked.
var version = ""

// Exit codes of the command.
const (
	exitError = 1
	exitUsage = 2
)

const help = `Usage: hybrid-device-plugin [OPTIONS]

Offer the remote processors of this board to Kubernetes, until interrupted: to the
kubelet as devices hybrid.dev/CORE, one for each processor, and to the scheduler as
labels of the node, hybrid.dev/board, hybrid.dev/CORE and hybrid.dev/remoteproc.

Options:
  --device-plugin-dir DIR  the kubelet's folder for device plugins (/var/lib/kubelet/device-plugins)
  --interval DURATION      look at the processors that often, beside what wakes at once (10s)
  --no-labels              set no labels; without an API server none are set anyway
  --node-name NAME         the node to label ($NODE_NAME)
  --service-account DIR    credentials for the API server (` + deviceplugin.ServiceAccountDir + `)
  --sysroot DIR            the folder that stands for / of the board, with sys and run ($HYBRID_SYSROOT, else /)
  --help, --version
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are those of the command line.
type options struct {
	dir, node, account, sysroot string
	interval                    time.Duration
	noLabels, version           bool
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("hybrid-device-plugin", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.dir, "device-plugin-dir", "/var/lib/kubelet/device-plugins", "")
	f.DurationVar(&o.interval, "interval", 10*time.Second, "")
	f.BoolVar(&o.noLabels, "no-labels", false, "")
	f.StringVar(&o.node, "node-name", os.Getenv("NODE_NAME"), "")
	f.StringVar(&o.account, "service-account", deviceplugin.ServiceAccountDir, "")
	f.StringVar(&o.sysroot, "sysroot", os.Getenv("HYBRID_SYSROOT"), "")
	f.BoolVar(&o.version, "version", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.interval < time.Second:
		return o, fmt.Errorf("--interval=%v: want 1s or more", o.interval)
	case o.sysroot == "":
		o.sysroot = "/"
	}
	return o, nil
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	log := func(line string) { fmt.Fprintln(errOut, "hybrid-device-plugin:", line) }
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, help)
		return 0
	case err != nil:
		log(err.Error() + " (hybrid-device-plugin --help)")
		return exitUsage
	case o.version:
		fmt.Fprintln(out, "hybrid-device-plugin version", versionText())
		return 0
	}
	p, err := o.plugin(log)
	if err == nil {
		err = p.Run(ctx)
	}
	if err != nil {
		log(err.Error())
		return exitError
	}
	return 0
}

// plugin is the one that the options ask for. Without an API server it has no node to
// label, which is said and no reason to stop: the kubelet needs none.
func (o options) plugin(log func(string)) (*deviceplugin.Plugin, error) {
	sysroot, err := filepath.Abs(o.sysroot)
	if err != nil {
		return nil, err
	}
	p := &deviceplugin.Plugin{Host: remoteproc.Host{Root: sysroot}, Dir: o.dir, Interval: o.interval, Name: o.node, Log: log}
	if o.noLabels {
		return p, nil
	}
	cluster, err := deviceplugin.InCluster(o.account)
	switch {
	case err != nil:
		log(fmt.Sprintf("no labels are set: %v", err))
	case o.node == "":
		log("no labels are set: which node is this? (--node-name, or NODE_NAME by the downward API)")
	default:
		p.Server = cluster
	}
	return p, nil
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
