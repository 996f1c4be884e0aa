//go:build kernel

package facts

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hybrid-containers/hybrid/sim/sysfs/elftest"
)

// fact is something that the kernel does. Every one starts with a processor that is
// offline and has recovery enabled.
type fact struct {
	name  string
	steps []step
}

const (
	memory     = 0x60000000
	memorySize = 0x00100000
	traceAt    = memory + 0x1000
)

// idle are a vector table and code that only sleeps: wfi; b .-2
var idle = []byte{0, 0x80, 0, 0x60, 9, 0, 0, 0x60, 0x30, 0xbf, 0xfd, 0xe7}

// good is firmware that boots, and whose trace buffer of 16 bytes says trace.
func good(trace string) elftest.File {
	return elftest.File{
		Segments: []elftest.Segment{{Addr: memory, Data: idle}, {Addr: traceAt, Data: []byte(trace), MemSize: 0x100}},
		Table:    elftest.Table(elftest.Trace(traceAt, 16, "trace")),
	}
}

// with is good firmware with this resource table.
func with(table []byte) []byte {
	f := good("hello\n")
	f.Table = table
	return f.Bytes()
}

// broken is good firmware with a 32-bit word of its file overwritten.
func broken(offset int, value uint32) []byte {
	b := good("hello\n").Bytes()
	binary.LittleEndian.PutUint32(b[offset:], value)
	return b
}

// broken16 is good firmware with a 16-bit word of its file overwritten.
func broken16(offset int, value uint16) []byte {
	b := good("hello\n").Bytes()
	binary.LittleEndian.PutUint16(b[offset:], value)
	return b
}

// cut is good firmware without the last n bytes of its file.
func cut(n int) []byte {
	b := good("hello\n").Bytes()
	return b[:len(b)-n]
}

// word is table with a 32-bit word overwritten.
func word(table []byte, offset int, value uint32) []byte {
	binary.LittleEndian.PutUint32(table[offset:], value)
	return table
}

// program is the offset of the n-th program header of a good firmware.
func program(n int) int { return elftest.HeaderSize32 + n*elftest.ProgSize32 }

var list = []fact{
	// what there is
	{"a new processor is offline, recovers, and has a name for its firmware", []step{
		reads("state", "offline\n"), reads("name", "m4\n"), reads("firmware", "rproc-m4-fw\n"),
		reads("recovery", "enabled\n"), reads("coredump", "disabled\n"), reads("uevent", "DEVTYPE=remoteproc\n"),
	}},
	{"modes and sizes", []step{
		stat("state", 0o644, 4096), stat("firmware", 0o644, 4096), stat("name", 0o444, 4096),
		stat("recovery", 0o644, 4096), stat("coredump", 0o644, 4096), stat("uevent", 0o644, 4096),
		stat(debug+"name", 0o400, 0), stat(debug+"crash", 0o200, 0), stat(debug+"recovery", 0o600, 0),
		stat(debug+"coredump", 0o600, 0), stat(debug+"resource_table", 0o400, 0), stat(debug+"carveout_memories", 0o400, 0),
		stat(parameter, 0o644, 4096), stat("sys/kernel/debug", os.ModeDir|0o700, -1),
		stat("sys/class/remoteproc/remoteproc0", os.ModeSymlink|0o777, -1), stat(class+"device", os.ModeSymlink|0o777, -1),
	}},
	{"device tree strings end with a zero", []step{
		reads(class+"device/of_node/compatible", "st,stm32mp1-m4\x00"), reads(class+"device/of_node/name", "m4\x00"),
		reads("sys/firmware/devicetree/base/compatible", "hybrid,qemu-virt\x00linux,dummy-virt\x00"),
		reads("sys/firmware/devicetree/base/model", "hybrid virtual board\x00"), stat("sys/firmware/devicetree/base/model", 0o444, 21),
	}},
	{"name cannot be written", []step{refuse("name", "x", syscall.EACCES), refuse(debug+"name", "x", syscall.EINVAL)}},
	{"crash cannot be read", []step{unreadable(debug+"crash", syscall.EINVAL)}},
	{"a missing attribute opened with O_CREAT is a matter of permission", []step{creating("sys/class/remoteproc/remoteproc0/missing", syscall.EACCES)}},
	{"O_TRUNC means nothing", []step{truncating("recovery", "disabled"), reads("recovery", "disabled\n")}},

	// firmware, the attribute
	{"firmware takes any name up to a newline", []step{
		write("firmware", "a b.elf\nrest"), reads("firmware", "a b.elf\n"), write("firmware", "sub/x.elf\n"), reads("firmware", "sub/x.elf\n"),
		write("firmware", "../x"), reads("firmware", "../x\n"), write("firmware", "zero\x00rest"), reads("firmware", "zero\n"),
	}},
	{"firmware takes no empty name", []step{
		write("firmware", "x"), refuse("firmware", "\n", syscall.EINVAL), refuse("firmware", "\x00", syscall.EINVAL),
		refuse("firmware", "\nx", syscall.EINVAL), reads("firmware", "x\n"),
	}},
	{"firmware is busy while running", []step{
		boot(good("").Bytes()), refuse("firmware", "x", syscall.EBUSY), refuse("firmware", "\n", syscall.EBUSY), reads("firmware", "facts.elf\n"),
	}},

	// firmware, the file
	{"a missing file is missed by start", []step{
		write("firmware", "missing.elf"), refuse("state", "start", syscall.ENOENT), reads("state", "offline\n"), reads("firmware", "missing.elf\n"),
		refuse("state", "start", syscall.ENOENT), refuse("state", "stop", syscall.EINVAL),
	}},
	{"a name with .. is refused by start", []step{
		put(library+"facts.elf", good("").Bytes()),
		write("firmware", "../firmware/facts.elf"), refuse("state", "start", syscall.EINVAL),
		write("firmware", "x/../facts.elf"), refuse("state", "start", syscall.EINVAL),
		write("firmware", ".."), refuse("state", "start", syscall.EINVAL),
		write("firmware", "x/.."), refuse("state", "start", syscall.EINVAL),
	}},
	{"dots inside of a name are only dots", []step{
		put(library+"a..b", good("").Bytes()), write("firmware", "a..b"), write("state", "start"), reads("state", "running\n"),
	}},
	{"a folder is no firmware", []step{put(library+"facts/x", nil), write("firmware", "facts"), refuse("state", "start", syscall.EINVAL)}},
	{"an empty file is no firmware", []step{fails(nil, syscall.EINVAL)}},
	{"a name may have folders", []step{
		put(library+"facts/sub/a.elf", good("").Bytes()), write("firmware", "facts/sub/a.elf"), write("state", "start"), reads("state", "running\n"),
	}},
	{"a symbolic link is followed", []step{
		put(library+"facts/a.elf", good("").Bytes()), link("/lib/firmware/facts/a.elf", library+"facts/b.elf"),
		write("firmware", "facts/b.elf"), write("state", "start"), reads("state", "running\n"),
	}},
	{"firmware is searched for in five folders, in this order", []step{
		put(library+"facts.elf", good("lib\n").Bytes()), starts("lib\n"),
		putRelease(library, "/facts.elf", good("release\n").Bytes()), starts("release\n"),
		put(library+"updates/facts.elf", good("updates\n").Bytes()), starts("updates\n"),
		putRelease(library+"updates/", "/facts.elf", good("upd/rel\n").Bytes()), starts("upd/rel\n"),
		put("run/facts/facts.elf", good("param\n").Bytes()), starts("upd/rel\n"),
		write(parameter, "/run/facts"), starts("param\n"),
	}},
	{"a bad file in one folder does not hide the next", []step{
		put(library+"facts.elf", good("lib\n").Bytes()), put(library+"updates/facts.elf/x", nil), starts("lib\n"),
	}},
	{"a bad ELF file in one folder does hide the next", []step{
		put(library+"facts.elf", good("lib\n").Bytes()), put(library+"updates/facts.elf", []byte("no firmware, but a file")),
		write("firmware", "facts.elf"), refuse("state", "start", syscall.EINVAL),
	}},
	{"the search path keeps its newline", []step{
		put("run/facts/facts.elf", good("param\n").Bytes()),
		write(parameter, "/run/facts"), reads(parameter, "/run/facts\n"), starts("param\n"),
		write(parameter, "/run/facts\n"), reads(parameter, "/run/facts\n\n"), searchNewline,
	}},
	{"the search path is at most 255 bytes long", []step{
		write(parameter, pathOf(255)), refuse(parameter, pathOf(256), syscall.ENOSPC), reads(parameter, pathOf(255)+"\n"),
	}},

	// state
	{"start and stop", []step{boot(good("").Bytes()), write("state", "stop\n"), reads("state", "offline\n"), write("state", "start\n"), reads("state", "running\n")}},
	{"stop when offline is refused", []step{refuse("state", "stop", syscall.EINVAL)}},
	{"detach is for attached cores", []step{refuse("state", "detach", syscall.EINVAL), boot(good("").Bytes()), refuse("state", "detach", syscall.EINVAL), reads("state", "running\n")}},
	{"other words are refused", []step{
		refuse("state", "bogus", syscall.EINVAL), refuse("state", "START", syscall.EINVAL), refuse("state", "start\n\n", syscall.EINVAL),
		refuse("state", " start", syscall.EINVAL), refuse("state", "start ", syscall.EINVAL), refuse("state", "starting", syscall.EINVAL),
		refuse("state", "running", syscall.EINVAL),
	}},
	{"a word ends at a zero", []step{refuse("state", "stop\x00x", syscall.EINVAL), boot(good("").Bytes()), write("state", "stop\x00x"), reads("state", "offline\n")}},
	{"start twice needs stop twice", []step{
		boot(good("").Bytes()), write("state", "start"), reads("state", "running\n"),
		write("state", "stop"), reads("state", "running\n"), write("state", "stop"), reads("state", "offline\n"), refuse("state", "stop", syscall.EINVAL),
	}},
	{"a start that failed does not count", []step{
		write("firmware", "missing.elf"), refuse("state", "start", syscall.ENOENT),
		boot(good("").Bytes()), write("state", "stop"), reads("state", "offline\n"),
	}},
	{"the second start reads no firmware", []step{
		boot(good("").Bytes()), remove(library + "facts.elf"), write("state", "start"), reads("state", "running\n"),
	}},
	{"an open file shows the present", []step{openFile}},
	{"poll on state does not wake", []step{boot(good("").Bytes()), pollState}},
	{"inotify on state sees writes, and no crash", []step{boot(good("").Bytes()), inotifyState}},
	{"a real firmware boots", []step{realFirmware("hello_world.elf")}},
	{"another real firmware boots, and crashes", []step{write("recovery", "disabled"), realFirmware("crash.elf"), write(debug+"crash", "1"), becomes("state", "crashed\n")}},

	// crashes
	{"a crash is taken in any type", []step{
		write("recovery", "disabled"), boot(good("").Bytes()), write(debug+"crash", "0"), becomes("state", "crashed\n"),
		write("recovery", "recover"), becomes("state", "running\n"), write(debug+"crash", "2\n"), becomes("state", "crashed\n"),
		write("recovery", "recover"), becomes("state", "running\n"), write(debug+"crash", "0x63"), becomes("state", "crashed\n"),
	}},
	{"firmware that faults crashes by itself", []step{
		write("recovery", "disabled"), faulting, write("state", "start"), becomes("state", "crashed\n"), stays("state", "crashed\n"),
	}},
	{"firmware that always faults is restarted for ever", []step{
		faulting, write("state", "start"), crashes(4), write("recovery", "disabled"), becomes("state", "crashed\n"),
	}},
	{"what is no number is no crash", []step{
		boot(good("").Bytes()), write("recovery", "disabled"), refuse(debug+"crash", "x", syscall.EINVAL), refuse(debug+"crash", "-1", syscall.EINVAL),
		refuse(debug+"crash", "1 ", syscall.EINVAL), refuse(debug+"crash", "1_0", syscall.EINVAL),
		refuse(debug+"crash", "4294967296", syscall.ERANGE), stays("state", "running\n"),
	}},
	{"a crash when offline is nothing", []step{write("recovery", "disabled"), write(debug+"crash", "1"), stays("state", "offline\n")}},
	{"without recovery a crash stays", []step{boot(good("hello\n").Bytes()), crash, stays("state", "crashed\n"), reads(debug+"trace0", "hello\n")}},
	{"a crashed core is stopped, or that is refused", []step{boot(good("").Bytes()), crash, stopCrashed}},
	{"a crashed core is not attached", []step{boot(good("").Bytes()), crash, refuse("state", "detach", syscall.EINVAL)}},
	{"start of a crashed core succeeds, counts and does nothing", []step{
		boot(good("").Bytes()), crash, write("state", "start"), stays("state", "crashed\n"),
		write("recovery", "recover"), becomes("state", "running\n"), write("state", "stop"), reads("state", "running\n"), write("state", "stop"), reads("state", "offline\n"),
	}},
	{"a crashed core keeps its firmware's name", []step{boot(good("").Bytes()), crash, refuse("firmware", "x", syscall.EBUSY), refuse("coredump", "enabled", syscall.EBUSY)}},
	{"recover restarts, and leaves recovery off", []step{boot(good("").Bytes()), crash, write("recovery", "recover\n"), reads("state", "running\n"), reads("recovery", "disabled\n")}},
	{"recover of what runs is nothing", []step{boot(good("").Bytes()), write("recovery", "recover"), stays("state", "running\n"), reads("recovery", "enabled\n")}},
	{"recover of what is offline is nothing", []step{write("recovery", "recover"), stays("state", "offline\n")}},
	{"enabling recovery recovers", []step{boot(good("").Bytes()), crash, write("recovery", "enabled"), reads("state", "running\n")}},
	{"disabling recovery does not undo a crash", []step{boot(good("").Bytes()), crash, write("recovery", "disabled"), reads("state", "crashed\n")}},
	{"other words are no recovery", []step{refuse("recovery", "on", syscall.EINVAL), refuse("recovery", "enable", syscall.EINVAL), refuse("recovery", "1", syscall.EINVAL), refuse("recovery", "enabled\n\n", syscall.EINVAL)}},
	{"with recovery a crash passes", []step{
		boot(good("old\n").Bytes()), put(library+"facts.elf", good("new\n").Bytes()), write(debug+"crash", "1"),
		becomes(debug+"trace0", "new\n"), becomes("state", "running\n"), write("state", "stop"), reads("state", "offline\n"),
	}},
	{"recovery keeps the resources of the first boot", []step{
		boot(good("old\n").Bytes()), crash,
		put(library+"facts.elf", with(elftest.Table(elftest.Trace(traceAt, 16, "a"), elftest.Trace(traceAt+2, 3, "b")))),
		write("recovery", "recover"), reads("state", "running\n"), reads(debug+"trace0", "hello\n"), absent(debug + "trace1"),
	}},
	{"recovery without the file leaves a core that neither starts nor stops", []step{
		boot(good("").Bytes()), crash, remove(library + "facts.elf"), write("recovery", "recover"), reads("state", "offline\n"),
		refuse("state", "stop", syscall.EINVAL), put(library+"facts.elf", good("").Bytes()), write("firmware", "facts.elf"),
		write("state", "start"), stays("state", "offline\n"), refuse("state", "stop", syscall.EINVAL), rebind,
	}},

	// core dumps, the setting
	{"coredump takes three words", []step{
		write("coredump", "enabled"), reads("coredump", "enabled\n"), write("coredump", "inline\n"), reads("coredump", "inline\n"), reads(debug+"coredump", "inline\n"),
		write("coredump", "disabled"), reads("coredump", "disabled\n"), refuse("coredump", "default", syscall.EINVAL), refuse("coredump", "", 0),
	}},

	// rpmsg
	{"firmware with a channel rpmsg-tty has a tty below its processor", []step{
		absent(ttyClass + "ttyRPMSG0"), realFirmware("echo.elf"), ttyDevice,
		write("state", "stop"), absent(ttyClass + "ttyRPMSG0"), absent("dev/ttyRPMSG0"), onlyAttributes,
	}},
	{"a virtio device in the resource table is filled in", []step{
		realFirmware("echo.elf"), ttyDevice, holds(debug+"resource_table", "  ID 7\n", "  Guest features 0x1\n", "  Status 0x7\n",
			"  Vring 0\n    Device Address 0x60100000\n    Alignment 16\n    Number of buffers 16\n", "  Vring 1\n    Device Address 0x60104000\n"),
	}},
	{"a new tty is raw, but for newlines", []step{realFirmware("echo.elf"), ttySettings}},
	{"what is written to the tty comes back", []step{realFirmware("echo.elf"), pingPong}},
	{"stop hangs the tty up", []step{realFirmware("echo.elf"), hangUp(write("state", "stop"))}},
	{"a crash leaves the tty, and the recovery brings another", []step{
		realFirmware("echo.elf"), ttyDevice, crash, ttyDevice, write("recovery", "recover"), ttyDevice, pingPong,
	}},
	{"a tty that is held open keeps its number", []step{realFirmware("echo.elf"), heldTTY}},

	// core dumps
	{"without being asked for there is no core dump", []step{boot(good("").Bytes()), logs([]string{
		"3 crash detected in m4: type watchdog", "3 handling crash #N in m4", "3 recovering m4", "6 stopped remote processor m4", "6 remote processor m4 is now up",
	}, write(debug+"crash", "1")), noDump}},
	{"a core dump is a device", []step{write("coredump", "enabled"), boot(good("hello\n").Bytes()), crashDump, dumpDevice, becomes("state", "running\n")}},
	{"a core dump is an ELF file", []step{
		write("coredump", "enabled"), boot(good("hello\n").Bytes()), crashDump, dumpContent(memory, "hello\n"+strings.Repeat("\x00", 10)),
	}},
	{"a core dump has every trace", []step{
		write("coredump", "enabled"), boot(with(elftest.Table(elftest.Trace(traceAt+2, 3, "b"), elftest.Trace(traceAt, 1, "a")))),
		crashDump, dumpContent(memory, "llo", "h"),
	}},
	{"a core dump is freed by a write, and is gone for who has it open", []step{write("coredump", "enabled"), boot(good("").Bytes()), crashDump, openDump}},
	{"a core dump that is there is not replaced", []step{write("coredump", "enabled"), boot(good("").Bytes()), crashDump, becomes("state", "running\n"), secondDump}},
	{"a core dump outlives its core", []step{
		write("coredump", "enabled"), boot(good("hello\n").Bytes()), crashDump, becomes("state", "running\n"), write("state", "stop"), reads("state", "offline\n"),
		dumpContent(memory, "hello\n"+strings.Repeat("\x00", 10)), free,
	}},
	{"without recovery the core dump comes with the recovery", []step{
		write("coredump", "enabled"), boot(good("hello\n").Bytes()), crash, noDump, write("recovery", "recover"), dumpDevice, reads("state", "running\n"), free,
	}},
	{"an inline core dump keeps the core offline until it is freed", []step{
		write("coredump", "inline"), boot(good("hello\n").Bytes()), crashDump, stays("state", "offline\n"), dumpContent(memory, "hello\n"+strings.Repeat("\x00", 10)),
		stays("state", "offline\n"), free, becomes("state", "running\n"),
	}},
	{"a signal ends a write that waits for the lock", []step{
		write("coredump", "inline"), boot(good("").Bytes()), crashDump,
		logs([]string{"3 can't lock rproc m4: -4"}, interrupted("state", "stop", syscall.EINTR)), stays("state", "offline\n"),
		logs([]string{"3 can't lock rproc m4: -4", "3 Boot failed: -4"}, interrupted("state", "start", syscall.EINTR)),
		interrupted("firmware", "x", syscall.EINVAL), reads("firmware", "facts.elf\n"),
		free, becomes("state", "running\n"), write("state", "stop"), reads("state", "offline\n"),
	}},
	{"core dumps are switched off for good, and only so", []step{
		reads(dumpClass+"disabled", "0\n"), refuse(dumpClass+"disabled", "0", syscall.EINVAL), refuse(dumpClass+"disabled", "2", syscall.EINVAL), refuse(dumpClass+"disabled", "x", syscall.EINVAL),
	}},

	// the kernel's log
	{"the log of a start and a stop", []step{
		put(library+"facts.elf", good("").Bytes()), write("firmware", "facts.elf"),
		logs([]string{
			"6 powering up m4", fmt.Sprintf("6 Booting fw image facts.elf, size %d", len(good("").Bytes())), "6 remote processor m4 is now up",
			"6 stopped remote processor m4",
		}, write("state", "start"), write("state", "start"), write("state", "stop"), write("state", "stop")),
	}},
	{"the log of a missing file", []step{write("firmware", "missing.elf"), logs([]string{
		"6 powering up m4", "4 Direct firmware load for missing.elf failed with error -2", "3 request_firmware failed: -2", "3 Boot failed: -2",
	}, refuse("state", "start", syscall.ENOENT))}},
	{"the log of a bad ELF file", []step{put(library+"facts.elf", []byte("no firmware, but a file")), write("firmware", "facts.elf"), logs([]string{
		"6 powering up m4", "3 Image is too small", "3 Boot failed: -22",
	}, refuse("state", "start", syscall.EINVAL))}},
	{"the log of a bad segment", []step{put(library+"facts.elf", broken(program(1)+12, 0x10000000)), write("firmware", "facts.elf"), logs([]string{
		"6 powering up m4", fmt.Sprintf("6 Booting fw image facts.elf, size %d", len(broken(0, 0x464c457f))), "3 bad phdr da 0x10000000 mem 0x100",
		"3 Failed to load program segments: -22", "3 Boot failed: -22",
	}, refuse("state", "start", syscall.EINVAL))}},
	{"the log of a bad resource table", []step{put(library+"facts.elf", with(elftest.Table(elftest.DevMem(0x10000000, 16, "device")))), write("firmware", "facts.elf"), logs([]string{
		"6 powering up m4", fmt.Sprintf("6 Booting fw image facts.elf, size %d", len(with(elftest.Table(elftest.DevMem(0x10000000, 16, "device"))))),
		"3 Failed to process resources: -22", "3 Boot failed: -22",
	}, refuse("state", "start", syscall.EINVAL))}},
	{"the log of a missing resource table", []step{put(library+"facts.elf", with(nil)), write("firmware", "facts.elf"), logs([]string{
		"6 powering up m4", fmt.Sprintf("6 Booting fw image facts.elf, size %d", len(with(nil))), "4 no resource table found for this firmware",
		"6 remote processor m4 is now up",
	}, write("state", "start"))}},
	{"the log of a crash", []step{boot(good("").Bytes()), write("recovery", "disabled"), logs([]string{
		"3 crash detected in m4: type fatal error", "3 handling crash #N in m4",
	}, write(debug+"crash", "2"), becomes("state", "crashed\n"))}},
	{"the log of a crash and its recovery", []step{boot(good("").Bytes()), logs([]string{
		"3 crash detected in m4: type mmufault", "3 handling crash #N in m4", "3 recovering m4", "6 stopped remote processor m4", "6 remote processor m4 is now up",
	}, write(debug+"crash", "0"))}},
	{"the log of words that are none", []step{logs([]string{
		"3 Unrecognised option: bogus", `3 Unrecognised option: \x5ca\x0ab\xc3\xa4`, "3 Invalid coredump configuration",
	}, refuse("state", "bogus", syscall.EINVAL), refuse("state", "\\a\nb\u00e4", syscall.EINVAL), refuse("coredump", "bogus", syscall.EINVAL))}},
	{"every reader of the log has its own place", []step{readers}},
	{"poll on the log wakes for a crash", []step{boot(good("").Bytes()), wakes}},

	// debugfs
	{"recovery in debugfs takes beginnings of words", []step{
		write(debug+"recovery", "dis"), reads("recovery", "disabled\n"), write(debug+"recovery", "e"), reads(debug+"recovery", "enabled\n"),
		write(debug+"recovery", "disabled\n"), reads(debug+"recovery", "disabled\n"), refuse(debug+"recovery", "en\n", syscall.EINVAL),
		refuse(debug+"recovery", "bogus", syscall.EINVAL), refuse(debug+"recovery", "enabled....", syscall.EINVAL), reads("recovery", "disabled\n"),
		refuse(debug+"recovery", "\n", syscall.EINVAL), reads("recovery", "disabled\n"),
	}},
	{"coredump in debugfs takes beginnings of words", []step{
		write(debug+"coredump", "e"), reads("coredump", "enabled\n"), write(debug+"coredump", "inline\n"), reads("coredump", "inline\n"),
		refuse(debug+"coredump", "in\n", syscall.EINVAL), refuse(debug+"coredump", "disabled.............", syscall.EINVAL), reads("coredump", "inline\n"),
	}},
	{"recovery in debugfs recovers", []step{boot(good("").Bytes()), crash, write(debug+"recovery", "recover"), reads("state", "running\n")}},
	{"name in debugfs is the name", []step{reads(debug+"name", "m4\n")}},
	{"tables of an offline core are empty", []step{reads(debug+"resource_table", "No resource table found\n"), reads(debug+"carveout_memories", "")}},
	{"the resource table is shown while loaded", []step{
		boot(good("").Bytes()),
		reads(debug+"resource_table", "Entry 0 is of type trace\n  Device Address 0x60001000\n  Length 0x10 Bytes\n  Reserved (should be zero) [0]\n  Name trace\n\n"),
		write("state", "stop"), reads(debug+"resource_table", "No resource table found\n"),
	}},

	// traces
	{"a trace is there from start to stop", []step{
		absent(debug + "trace0"), boot(good("hello\n").Bytes()), stat(debug+"trace0", 0o400, 0), reads(debug+"trace0", "hello\n"), absent(debug + "trace1"),
		write("state", "stop"), absent(debug + "trace0"),
	}},
	{"a trace ends at its first zero", []step{boot(good("a\x00b").Bytes()), reads(debug+"trace0", "a")}},
	{"a trace ends with its buffer", []step{boot(good("0123456789abcdefXYZ").Bytes()), reads(debug+"trace0", "0123456789abcdef")}},
	{"an empty trace", []step{boot(good("").Bytes()), reads(debug+"trace0", "")}},
	{"traces are counted in the order of the table", []step{
		boot(with(elftest.Table(elftest.Trace(traceAt+2, 16, "b"), elftest.Trace(traceAt, 1, "a")))), reads(debug+"trace0", "llo\n"), reads(debug+"trace1", "h"), absent(debug + "trace2"),
	}},
	{"a trace outside of the memory is not available", []step{
		boot(with(elftest.Table(elftest.Trace(0x10000000, 16, "trace")))), reads(debug+"trace0", "Trace  not available\n"),
	}},
	{"a trace that is too long is not available", []step{
		boot(with(elftest.Table(elftest.Trace(traceAt, 0x7fffffff, "trace")))), reads(debug+"trace0", "Trace  not available\n"),
	}},
	{"a trace of no length", []step{boot(with(elftest.Table(elftest.Trace(traceAt, 0, "trace")))), reads(debug+"trace0", "")}},
	{"memory that no segment covers keeps what it held", []step{
		boot(good("kept\n").Bytes()), write("state", "stop"),
		boot(elftest.File{Segments: []elftest.Segment{{Addr: memory, Data: idle}}, Table: elftest.Table(elftest.Trace(traceAt, 16, "trace"))}.Bytes()), reads(debug+"trace0", "kept\n"),
	}},
	{"an open trace is gone after stop", []step{openTrace}},

	// ELF, the header
	{"ELF: too short for a header", []step{fails(good("").Bytes()[:elftest.HeaderSize32-1], syscall.EINVAL)}},
	{"ELF: bad magic", []step{fails(broken(0, 0x464c457e), syscall.EINVAL)}},
	{"ELF: neither 32 nor 64 bit", []step{fails(broken(4, 0x00010103), syscall.EINVAL)}},
	{"ELF: big endian", []step{fails(broken(4, 0x00010201), syscall.EINVAL)}},
	{"ELF: the machine does not matter", []step{boot(broken16(18, uint16(elf.EM_X86_64)))}},
	{"ELF: the type does not matter", []step{boot(broken16(16, uint16(elf.ET_CORE)))}},
	{"ELF: 64 bit", []step{boot(func() []byte { f := good("64\n"); f.Class = elf.ELFCLASS64; return f.Bytes() }()), reads(debug+"trace0", "64\n")}},
	{"ELF: no program headers", []step{fails(broken16(elftest.Phnum32, 0), syscall.EINVAL)}},
	{"ELF: program headers behind the end of the file", []step{fails(broken(elftest.Phoff32, 0x100000), syscall.EINVAL)}},
	{"ELF: sizes of records in the header do not matter", []step{boot(broken16(42, 1)), write("state", "stop"), boot(broken16(46, 1)), reads(debug+"trace0", "hello\n")}},
	{"ELF: section headers behind the end of the file", []step{fails(broken(elftest.Shoff32, 0x100000), syscall.EINVAL)}},
	{"ELF: less than one section header", []step{fails(cut(2*elftest.SectionSize32+1), syscall.EINVAL)}},
	{"ELF: no section headers, and none announced", []step{boot(stripped()), absent(debug + "trace0")}},

	// ELF, segments
	{"ELF: a segment outside of the memory", []step{fails(broken(program(1)+12, 0x10000000), syscall.EINVAL)}},
	{"ELF: a segment before the memory", []step{fails(broken(program(1)+12, memory-4), syscall.EINVAL)}},
	{"ELF: a segment across the end of the memory", []step{fails(broken(program(1)+12, memory+memorySize-0xfc), syscall.EINVAL)}},
	{"ELF: a segment up to the end of the memory", []step{boot(broken(program(1)+12, memory+memorySize-0x100))}},
	{"ELF: a segment larger in the file than in memory", []step{fails(broken(program(1)+elftest.ProgMemsz32, 5), syscall.EINVAL)}},
	{"ELF: a segment that ends behind the file", []step{fails(broken(program(1)+elftest.ProgOffset32, 0x10000), syscall.EINVAL)}},
	{"ELF: an empty segment may be anywhere", []step{boot(func() []byte {
		f := good("")
		f.Segments = append(f.Segments, elftest.Segment{Addr: 0x10000000})
		return f.Bytes()
	}())}},
	{"ELF: segments that are not loaded may be anywhere", []step{boot(func() []byte {
		f := good("")
		f.Segments = append(f.Segments, elftest.Segment{Type: elf.PT_NOTE, Addr: 0x10000000, Data: []byte("note")})
		return f.Bytes()
	}())}},
	{"ELF: nothing to load", []step{boot(elftest.File{Segments: []elftest.Segment{{Type: elf.PT_NOTE, Data: []byte("note")}}}.Bytes())}},
	{"ELF: the first segment is loaded before the second is refused", []step{
		boot(good("first\n").Bytes()), write("state", "stop"),
		fails(func() []byte {
			f := good("second\n")
			f.Segments = append(f.Segments, elftest.Segment{Addr: 0x10000000, Data: []byte("x")})
			return f.Bytes()
		}(), syscall.EINVAL),
		boot(elftest.File{Segments: []elftest.Segment{{Addr: memory, Data: idle}}, Table: elftest.Table(elftest.Trace(traceAt, 16, "trace"))}.Bytes()), reads(debug+"trace0", "second\n"),
	}},

	// the resource table; with this driver a bad one is as good as none
	{"table: none", []step{boot(with(nil)), absent(debug + "trace0"), reads(debug+"resource_table", "No resource table found\n")}},
	{"table: version 2", []step{boot(with(word(elftest.Table(elftest.Trace(traceAt, 16, "")), 0, 2))), absent(debug + "trace0")}},
	{"table: reserved is not zero", []step{boot(with(word(elftest.Table(elftest.Trace(traceAt, 16, "")), 8, 1))), absent(debug + "trace0")}},
	{"table: shorter than its header", []step{boot(with(elftest.Table()[:15])), absent(debug + "trace0")}},
	{"table: shorter than its offsets", []step{boot(with(word(elftest.Table(), 4, 1))), absent(debug + "trace0")}},
	{"table: no entries", []step{boot(with(elftest.Table())), absent(debug + "trace0"), reads(debug+"resource_table", "")}},
	// but what is wrong in an entry is refused
	{"table: an entry behind its end", []step{fails(with(word(elftest.Table(elftest.Trace(traceAt, 16, "")), 16, 0x1000)), syscall.EINVAL)}},
	{"table: a trace cut short", []step{fails(with(elftest.Table(elftest.Trace(traceAt, 16, "")[:40])), syscall.EINVAL)}},
	{"table: a trace whose reserved is not zero", []step{fails(with(elftest.Table(word(elftest.Trace(traceAt, 16, ""), 12, 1))), syscall.EINVAL)}},
	{"table: good traces before a bad one go with it", []step{fails(with(elftest.Table(elftest.Trace(traceAt, 16, ""), elftest.Trace(traceAt, 16, "")[:40])), syscall.EINVAL)}},
	{"table: device memory needs an IOMMU", []step{fails(with(elftest.Table(elftest.DevMem(0x10000000, 16, "device"))), syscall.EINVAL)}},
	{"table: a carveout cut short", []step{fails(with(elftest.Table(elftest.Carveout(memory, 16, "x")[:40])), syscall.EINVAL)}},
	{"table: a carveout whose reserved is not zero", []step{fails(with(elftest.Table(word(elftest.Carveout(memory, 16, "x"), 20, 1))), syscall.EINVAL)}},
	{"table: a virtio device with three vrings", []step{fails(with(elftest.Table(elftest.Vdev(7, 3, 4))), syscall.EINVAL)}},
	{"table: a vring without buffers is not noticed", []step{boot(with(elftest.Table(elftest.Vdev(7, 2, 0))))}},
	{"table: a virtio device cut short", []step{fails(with(elftest.Table(elftest.Vdev(7, 2, 4)[:60])), syscall.EINVAL)}},
	{"table: an unknown entry is skipped", []step{boot(with(elftest.Table([]byte{77, 0, 0, 0}, elftest.Trace(traceAt, 16, "")))), reads(debug+"trace0", "hello\n")}},
}

// faulting puts firmware that executes what is no instruction. The simulation is told to
// act like that.
func faulting(t *testing.T, w *world) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.elfs, "crash.elf"))
	if err != nil {
		t.Fatal(err)
	}
	steps(t, w, put(library+"facts.elf", b), write("firmware", "facts.elf"))
	const control = "sim/remoteproc0/control"
	if _, err := os.Stat(w.path(control)); err == nil {
		write(control, "boot-crash 1")(t, w)
	}
}

// crashes waits for so many crashes.
func crashes(n int) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		l := openLog(t, w)
		for n > 0 {
			switch l.next(10 * time.Second) {
			case "":
				t.Fatalf("%d crashes are missing", n)
			case "3 handling crash #N in m4":
				n--
			}
		}
	}
}

// starts wants the firmware facts.elf to be found in the folder whose file prints
// trace.
func starts(trace string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		steps(t, w, write("firmware", "facts.elf"), write("state", "start"), reads(debug+"trace0", trace), write("state", "stop"))
	}
}

// stripped is firmware whose section headers are gone, as strip --strip-section-headers
// leaves it.
func stripped() []byte {
	b := broken(elftest.Shoff32, 0)
	binary.LittleEndian.PutUint32(b[elftest.Shnum32:], 0) // and the index of their names
	return b
}

// realFirmware boots a file that the SDK made.
func realFirmware(name string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(w.elfs, name))
		if err != nil {
			t.Fatal(err)
		}
		steps(t, w, boot(b), stat(debug+"trace0", 0o400, 0))
	}
}

// searchNewline knows both kernels: 6.1 looks in a folder whose name ends with the
// newline, those since 6.3 cut it off.
func searchNewline(t *testing.T, w *world) {
	t.Helper()
	write("firmware", "facts.elf")(t, w)
	if w.atLeast(6, 3) {
		steps(t, w, write("state", "start"), reads(debug+"trace0", "param\n"))
		return
	}
	steps(t, w, refuse("state", "start", syscall.ENOENT), put("run/facts\n/facts.elf", good("newline\n").Bytes()), starts("newline\n"))
}

// stopCrashed knows both kernels: 6.1.176 and 6.12.95 refuse, 6.1.192 stops.
func stopCrashed(t *testing.T, w *world) {
	t.Helper()
	switch err := w.write("state", "stop"); errno(err) {
	case 0:
		reads("state", "offline\n")(t, w)
	case syscall.EINVAL:
		steps(t, w, stays("state", "crashed\n"), write("recovery", "recover"), becomes("state", "running\n"), write("state", "stop"), reads("state", "offline\n"))
	default:
		t.Fatalf("stop of a crashed core: %v", err)
	}
}
