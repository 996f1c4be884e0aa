//go:build kernel

package facts

import (
	"syscall"

	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

// bootedFirmware is what the boot loader started. Its resource table is in memory, where
// Linux looks for it.
var bootedFirmware = func() []byte {
	const tableAt = memory + 0x800
	f := good("booted\n")
	f.Segments = append(f.Segments, elftest.Segment{Addr: tableAt, Data: f.Table})
	f.TableAddr = tableAt
	return f.Bytes()
}()

// bootedList is what is so for a core that a boot loader started before Linux. Every
// fact starts with a core that is detached; only the last may end what it executes,
// which nothing brings back.
var bootedList = []fact{
	{"a core that a boot loader started is detached", []step{
		reads("state", "detached\n"), reads("firmware", "rproc-m4-fw\n"), reads("recovery", "enabled\n"), absent(debug + "trace0"),
		reads(debug+"resource_table", "No resource table found\n"),
	}},
	{"detached, nothing but start is possible", []step{
		refuse("state", "stop", syscall.EINVAL), refuse("state", "detach", syscall.EINVAL), refuse("firmware", "x", syscall.EBUSY), stays("state", "detached\n"),
	}},
	{"start attaches", []step{
		logs([]string{"6 attaching to m4", "6 remote processor m4 is now attached"}, write("state", "start")),
		reads("state", "attached\n"), reads("firmware", "unknown\n"), reads(debug+"trace0", "booted\n"), refuse("firmware", "x", syscall.EBUSY),
		reads(debug+"resource_table", "Entry 0 is of type trace\n  Device Address 0x60001000\n  Length 0x10 Bytes\n  Reserved (should be zero) [0]\n  Name trace\n\n"),
	}},
	{"start needs no file, and cares for no name", []step{write("state", "start"), reads("state", "attached\n")}},
	{"detach leaves the core alone", []step{
		write("state", "start"), logs([]string{"6 detached remote processor m4"}, write("state", "detach")),
		reads("state", "detached\n"), reads("firmware", "rproc-m4-fw\n"), absent(debug + "trace0"), refuse("state", "detach", syscall.EINVAL),
		write("state", "start"), reads("state", "attached\n"), reads(debug+"trace0", "booted\n"),
	}},
	{"attached twice needs detaching twice", []step{
		write("state", "start"), write("state", "start"), write("state", "detach"), reads("state", "attached\n"), write("state", "detach"), reads("state", "detached\n"),
	}},
	{"a core that was attached recovers by the firmware that has a name, and stops", []step{
		write("state", "start"), crash, refuse("state", "detach", syscall.EINVAL), reads("firmware", "rproc-m4-fw\n"),
		put(library+"rproc-m4-fw", good("file\n").Bytes()), write("recovery", "recover"), becomes("state", "running\n"), reads(debug+"trace0", "file\n"),
		write("state", "stop"), reads("state", "offline\n"), refuse("state", "stop", syscall.EINVAL),
		write("state", "start"), reads("state", "running\n"), write("state", "stop"), reads("state", "offline\n"),
	}},
}
