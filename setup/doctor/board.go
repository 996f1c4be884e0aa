package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hybrid-containers/hybrid/board"
	"github.com/hybrid-containers/hybrid/runtime/cgroup"
	"github.com/hybrid-containers/hybrid/runtime/claim"
	"github.com/hybrid-containers/hybrid/runtime/remoteproc"
)

func (x *examination) path(name string) string { return filepath.Join(x.Host.Root, name) }

// board is which board it is, and what processors the kernel shows.
func (x *examination) board() ([]*remoteproc.Processor, board.Identity) {
	identity, err := board.Identify(x.Host.Root)
	const tree = "boot with a device tree: images are matched against it"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.error("board", "", "this machine has no device tree, so no board to match", tree)
	case err != nil:
		x.error("board", "", err.Error(), tree)
	case identity.Board() == nil:
		x.warning("board", "", identity.Name()+" is not in the catalogue: its cores are known by their kind alone",
			"describe it in "+board.AdditionsDir+" (docs/boards.md)")
	default:
		x.ok("board", "", identity.String())
	}
	for _, problem := range identity.Problems() {
		x.warning("board", "", problem.Error(), "correct or remove the file")
	}
	processors, err := x.Host.Processors()
	switch {
	case errors.Is(err, remoteproc.ErrNoProcessors):
		x.error("sysfs", "", "no remote processors in /sys/class/remoteproc",
			"load the board's driver, and boot with a device tree that has the core's node")
	case err != nil:
		x.error("sysfs", "", err.Error(), "mount -t sysfs sysfs /sys")
	default:
		x.ok("sysfs", "", fmt.Sprintf("%d in /sys/class/remoteproc", len(processors)))
	}
	return processors, identity
}

// interfaces are the other files by which the kernel is spoken to.
func (x *examination) interfaces() {
	const debug = "/sys/kernel/debug"
	switch _, err := os.ReadDir(x.path(debug + "/remoteproc")); {
	case err == nil:
		x.ok("debugfs", "", debug)
	case errors.Is(err, fs.ErrPermission):
		x.warning("debugfs", "", debug+" may not be read", "run hybrid-setup doctor as root")
	default:
		x.warning("debugfs", "", "not mounted on "+debug+": there is no output of firmware from its trace buffer",
			"mount -t debugfs debugfs "+debug)
	}
	x.firmwarePath()
	if f, err := os.OpenFile(x.path("dev/kmsg"), os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
		f.Close()
		x.ok("kmsg", "", "/dev/kmsg can be read: a crash is seen at once")
	} else {
		x.warning("kmsg", "", "/dev/kmsg cannot be read ("+reason(err)+"): a crash is seen some milliseconds later, without the kernel's words",
			"run engines as root, with CAP_SYSLOG if kernel.dmesg_restrict is 1")
	}
	switch v1, v2, err := cgroup.Versions(); {
	case err != nil:
		x.warning("cgroup", "", reason(err), "mount -t proc proc /proc")
	case v1 && v2:
		x.ok("cgroup", "", "version 1 and version 2")
	case v1:
		x.ok("cgroup", "", "version 1")
	case v2:
		x.ok("cgroup", "", "version 2")
	default:
		x.warning("cgroup", "", "no controllers are mounted: containers have no statistics", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
	}
}

// firmwarePath is whether firmware can be put where the kernel finds it. The folder is
// made when it is needed.
func (x *examination) firmwarePath() {
	folder, err := x.Host.FirmwareFolder()
	if err != nil {
		x.error("firmware-path", "", reason(err), "mount -t sysfs sysfs /sys")
		return
	}
	seen := "/" + trimRoot(folder, x.Host.Root)
	at := folder
	for {
		if _, err := os.Stat(at); err == nil || filepath.Dir(at) == at {
			break
		}
		at = filepath.Dir(at)
	}
	if err := unix.Access(at, unix.W_OK); err != nil {
		remedy := "run hybrid-setup doctor as root"
		if errors.Is(err, unix.EROFS) {
			remedy = "set the kernel parameter firmware_class.path to a folder that can be written"
		}
		x.error("firmware-path", "", seen+": "+err.Error(), remedy)
		return
	}
	x.ok("firmware-path", "", seen+" can be written")
}

func trimRoot(name, root string) string {
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return name
	}
	return rel
}

// processors are what each of them does, and for whom.
func (x *examination) processors(processors []*remoteproc.Processor, identity board.Identity) {
	claims, err := claim.NewStore(x.Host).List()
	if err != nil {
		x.warning("claims", "", err.Error(), "run hybrid-setup doctor as root")
	}
	owner := map[string]claim.Listed{}
	for _, c := range claims {
		owner[c.Instance] = c
	}
	for _, p := range processors {
		x.processor(p, identity, owner[p.Instance])
	}
	for _, c := range claims {
		if c.Dead {
			x.warning("claims", c.Instance, "left behind by container "+c.Holder.ID+", whose monitor died",
				"hybrid-runtime --root "+c.Holder.Root+" list (any command puts it back)")
		}
	}
}

func (x *examination) processor(p *remoteproc.Processor, identity board.Identity, c claim.Listed) {
	state, err := p.State()
	if err != nil {
		x.error("processor", p.Instance, err.Error(), "load its driver again")
		return
	}
	core, ours := identity.Core(p.Compatible)
	what := p.Name + ", " + core.MCU + ", " + string(state)
	switch {
	case !ours:
		x.ok("processor", p.Instance, p.Name+", "+string(state)+": not one that firmware may be put on")
	case c.Holder.ID != "" && !c.Dead:
		x.ok("processor", p.Instance, what+": container "+c.Holder.ID+" in "+c.Holder.Root+" has it")
	case c.Dead:
		x.ok("processor", p.Instance, what+": its container has died")
	case state == remoteproc.Offline:
		x.ok("processor", p.Instance, what+": free")
	case state == remoteproc.Detached:
		x.ok("processor", p.Instance, what+": the boot loader started it, create --attach takes it over")
	default:
		x.warning("processor", p.Instance, what+": no container started it, and none can use it",
			"echo stop > /sys/class/remoteproc/"+p.Instance+"/state")
	}
}

// reason is an error without the file, which is said already.
func reason(err error) string {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err.Error()
	}
	return err.Error()
}
