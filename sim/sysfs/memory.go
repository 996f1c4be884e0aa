package sysfs

const pageSize = 4096

// memory is what a core's memories hold, by device address. Only pages that were
// written to are kept: a board's DDR region may be gigabytes. It survives stop and
// start, as RAM does.
type memory map[uint64]*[pageSize]byte // by address / pageSize

// write copies b to addr.
func (m memory) write(addr uint64, b []byte) {
	for len(b) > 0 {
		page := m[addr/pageSize]
		if page == nil {
			page = new([pageSize]byte)
			m[addr/pageSize] = page
		}
		n := copy(page[addr%pageSize:], b)
		addr, b = addr+uint64(n), b[n:]
	}
}

// clear zeroes n bytes at addr, in time that depends on what was written, not on n.
func (m memory) clear(addr, n uint64) {
	end := addr + n
	for number, page := range m {
		start := number * pageSize
		if start+pageSize <= addr || start >= end {
			continue
		}
		from, to := max(start, addr)-start, min(start+pageSize, end)-start
		clear(page[from:to])
	}
}

// stringAt is the C string at addr, of at most limit bytes: strnlen(3).
func (m memory) stringAt(addr, limit uint64) []byte {
	var s []byte
	for limit > 0 {
		page := m[addr/pageSize]
		if page == nil {
			return s
		}
		part := page[addr%pageSize:]
		part = part[:min(uint64(len(part)), limit)]
		for i, c := range part {
			if c == 0 {
				return append(s, part[:i]...)
			}
		}
		s = append(s, part...)
		addr, limit = addr+uint64(len(part)), limit-uint64(len(part))
	}
	return s
}

// readAt fills b with what is at addr. What was never written is zero.
func (m memory) readAt(b []byte, addr uint64) {
	for len(b) > 0 {
		part := b[:min(uint64(len(b)), pageSize-addr%pageSize)]
		if page := m[addr/pageSize]; page != nil {
			copy(part, page[addr%pageSize:])
		} else {
			clear(part)
		}
		b, addr = b[len(part):], addr+uint64(len(part))
	}
}

// copy is what the memory holds now.
func (m memory) copy() memory {
	c := memory{}
	for number, page := range m {
		p := *page
		c[number] = &p
	}
	return c
}
