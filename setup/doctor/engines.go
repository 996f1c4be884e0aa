package doctor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/hybrid-containers/hybrid/runtime/delegate"
	"github.com/hybrid-containers/hybrid/setup"
)

// asked is how long a program may take to say its version.
const asked = 5 * time.Second

// programs are ours, and the runtime that Linux containers are handed to.
func (x *examination) programs(ctx context.Context) {
	const copyAll = "copy hybrid-runtime, hybrid-setup and " + setup.ShimName + " of one release into /usr/local/bin"
	runtime, err := setup.FindRuntime(x.Setup.Machine)
	if x.Setup.Runtime != "" {
		runtime, err = x.Setup.Runtime, x.Setup.Machine.Program(x.Setup.Runtime)
	}
	switch version, verr := x.version(ctx, runtime, err); {
	case err != nil:
		x.error("runtime", "", err.Error(), copyAll)
	case verr != nil:
		x.error("runtime", "", runtime+" does not run: "+verr.Error(), copyAll)
	case version != "" && version != x.Doctor.Version:
		x.warning("runtime", "", fmt.Sprintf("%s is %s, hybrid-setup is %s", runtime, version, x.Doctor.Version), copyAll)
	default:
		x.ok("runtime", "", strings.TrimSpace(runtime+" "+version))
	}
	switch shim, err := x.Setup.Machine.Look(setup.ShimName); {
	case err != nil:
		x.warning("shim", "", setup.ShimName+" is not where containerd looks for it", copyAll)
	case !setup.Service(shim):
		x.warning("shim", "", shim+" is in this PATH, and may not be in containerd's", copyAll)
	default:
		x.ok("shim", "", shim)
	}
	if !x.Setup.Machine.Own() {
		return
	}
	program, err := delegate.Find(x.Delegate)
	if errors.Is(err, delegate.ErrNone) {
		err = errors.New("neither runc nor crun is in PATH")
	}
	if err != nil {
		x.warning("delegate", "", err.Error(), "install runc: pods need it, and Linux containers beside firmware")
		return
	}
	release, err := x.release(ctx, program)
	if err != nil {
		x.error("delegate", "", program+" does not run: "+err.Error(), "install runc or crun again")
		return
	}
	x.ok("delegate", "", program+" "+release)
}

// version is the version of our runtime, as it says it; empty if it cannot be asked,
// as it is another machine's, or was not found.
func (x *examination) version(ctx context.Context, runtime string, found error) (string, error) {
	if found != nil || !x.Setup.Machine.Own() {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, asked)
	defer cancel()
	out, err := exec.CommandContext(ctx, runtime, "--version").Output()
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(out), "\n")
	version, ok := strings.CutPrefix(line, "hybrid-runtime version ")
	if !ok {
		return "", fmt.Errorf("it says %.60q", line)
	}
	return version, nil
}

func (x *examination) release(ctx context.Context, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, asked)
	defer cancel()
	return setup.ReleaseOf(ctx, program)
}

// engines are those that are found, and whether they know of us.
func (x *examination) engines(ctx context.Context) {
	found := 0
	for _, e := range setup.Engines() {
		if !e.Found(x.Setup.Machine) && x.Setup.Configs[e.Name] == "" {
			continue
		}
		found++
		x.engine(ctx, e)
	}
	if found == 0 {
		x.ok("engine", "", "none is found: hybrid-runtime runs containers by itself")
	}
}

func (x *examination) engine(ctx context.Context, e *setup.Engine) {
	name, old := e.Name, true
	if program, err := x.Setup.Machine.Look(e.Program); err == nil && x.Setup.Machine.Own() {
		if release, err := x.release(ctx, program); err == nil { // else it says less
			name += " " + release
			old = strings.HasPrefix(release, "1.")
		}
	}
	install := x.install(e)
	all, err := x.Setup.Configured(e)
	if err != nil {
		x.error("engine", e.Name, err.Error(), "correct the file: "+e.Name+" does not take it either")
		return
	}
	for _, c := range all {
		switch err := x.usable(c); {
		case c.Have == nil:
			x.warning("engine", e.Name, name+": "+c.File+" says nothing of hybrid", install)
		case err != nil:
			x.error("engine", e.Name, name+": "+c.File+": "+err.Error(), install+" --force")
		case c.Replaced != "" && old:
			x.warning("engine", e.Name, name+": "+c.Replaced+", which is imported, replaces all of the CRI plugin in containerd 1.x, and hybrid of "+c.File+" with it", "add hybrid to "+c.Replaced)
		default:
			x.ok("engine", e.Name, name+": hybrid is in "+c.File)
		}
	}
}

// install is the command for the file and the machine that were looked at.
func (x *examination) install(e *setup.Engine) string {
	command := "hybrid-setup install"
	if !x.Setup.Machine.Own() {
		command += " --root " + x.Setup.Machine.Root
	}
	if file := x.Setup.Configs[e.Name]; file != "" {
		return command + " --" + e.Name + "-config " + file
	}
	return command + " --" + e.Name
}

// usable reports why what a file says cannot be used, if it cannot.
func (x *examination) usable(c setup.Configured) error {
	if c.Shim {
		if _, err := x.Setup.Machine.Look(setup.ShimName); err != nil {
			return fmt.Errorf("%s is not where containerd looks for it", setup.ShimName)
		}
	}
	var missing error
	for _, program := range c.Programs {
		err := x.Setup.Machine.Program(program)
		if err == nil {
			return nil
		}
		if missing == nil {
			missing = fmt.Errorf("%s: %w", program, err)
		}
	}
	if missing == nil && !c.Shim && c.Have != nil && len(c.Programs) == 0 {
		return errors.New("hybrid is something else there")
	}
	return missing
}
