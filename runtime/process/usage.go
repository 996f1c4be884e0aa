package process

import (
	"os"
	"time"
)

// Usage is what a process has used.
type Usage struct {
	User, Kernel time.Duration // of the processors
	Resident     uint64        // memory now, in bytes
	Threads      uint64
}

// tick is the unit of times in /proc: USER_HZ is 100 on every architecture that Go
// has for Linux.
const tick = 10 * time.Millisecond

// Usage asks the kernel what the process has used; ErrGone if it has ended.
func (id Identity) Usage() (Usage, error) {
	s, err := readStat(id.PID)
	if err != nil {
		return Usage{}, err
	}
	var n [5]uint64
	for i, field := range []int{14, 15, 20, 22, 24} {
		if n[i], err = s.number(field); err != nil {
			return Usage{}, err
		}
	}
	if n[3] != id.Start {
		return Usage{}, ErrGone
	}
	return Usage{
		User: time.Duration(n[0]) * tick, Kernel: time.Duration(n[1]) * tick,
		Threads: n[2], Resident: n[4] * uint64(os.Getpagesize()),
	}, nil
}
