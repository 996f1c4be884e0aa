package monitor

import (
	"bufio"
	"os"
	"strconv"
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
		line := lines.Text() // 00010000-001a5000 r-xp 00000000 08:01 1234  /usr/bin/hybrid-runtime
		span, rest, _ := strings.Cut(line, " ")
		clean := strings.HasPrefix(rest, "r--p") || strings.HasPrefix(rest, "r-xp") // nothing is lost
		if !clean || !strings.HasSuffix(rest, " "+exe) {
			continue
		}
		from, to, _ := strings.Cut(span, "-")
		start, err := strconv.ParseUint(from, 16, 64)
		end, eerr := strconv.ParseUint(to, 16, 64)
		if err == nil && eerr == nil {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
		}
	}
}
