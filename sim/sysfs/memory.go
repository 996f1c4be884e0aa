package sysfs

const pageSize = 4096

// memory is what a core's memories hold, by device address. It survives stop and start,
// as RAM does.
type memory interface {
	// write copies b to addr.
	write(addr uint64, b []byte)
	// clear zeroes n bytes at addr.
	clear(addr, n uint64)
	// stringAt is the C string at addr, of at most limit bytes: strnlen(3).
	stringAt(addr, limit uint64) []byte
	// readAt fills b with what is at addr. What was never written is zero.
	readAt(b []byte, addr uint64)
	// copy is what the memory holds now.
	copy() memory
}

// pages is the memory of a pretend core. Only pages that were written to are kept: a
// board's DDR region may be gigabytes.
type pages map[uint64]*[pageSize]byte // by address / pageSize

func (m pages) write(addr uint64, b []byte) {
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

// clear takes time that depends on what was written, not on n.
func (m pages) clear(addr, n uint64) {
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

func (m pages) stringAt(addr, limit uint64) []byte {
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

func (m pages) readAt(b []byte, addr uint64) {
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

func (m pages) copy() memory {
	c := pages{}
	for number, page := range m {
		p := *page
		c[number] = &p
	}
	return c
}
