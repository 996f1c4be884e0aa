// Package facts is what Linux does with remote processors, as a list of tests that
// runs in two worlds: on the simulation of package sysfs, and on the real kernel of
// the virtual board of package vm. So the simulation, on which the runtime is tested,
// cannot drift from the truth.
//
//	go test -tags kernel ./test/kernel/facts
//
// needs root, /dev/fuse, make, gcc-arm-none-eabi and what the virtual board needs. It
// runs the list on the simulation, and then, in TestVirtualBoard, the very same list
// on the board, which must pass the very same facts.
//
// FACTS_WORLD=kernel runs the list on the kernel under the test's feet, for a board
// with a Cortex-M core whose memory is at 0x60000000. FACTS_FIRMWARE is then the
// folder with hello_world.elf, crash.elf and echo.elf, built for that board.
//
// What the tests need of a world is its files: sysfs, debugfs and /lib/firmware.
//
// A second, shorter list is for cores that a boot loader started, a third for what
// firmware does that is really executed, and a last one for what the simulation cannot
// have: uevents.
//
// Not yet in the lists: rpmsg but for its tty, /dev/remoteprocN, compressed
// firmware.
package facts
