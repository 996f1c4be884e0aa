package monitor

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// trim gives back the memory that only the start needed. A page fault maps the 16
// pages around it, so after the start nearly the whole program is resident; what
// the monitor goes on using is a fraction, and comes back by itself. On a board
// with 64 MB it matters which of the two each container costs.
func trim() {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var start, end uintptr
		var mode string
		line := lines.Text()
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &start, &end, &mode); n != 3 || !strings.HasSuffix(line, " "+exe) {
			continue
		}
		if mode == "r--p" || mode == "r-xp" { // clean pages of the file: nothing is lost
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
		}
	}
}
