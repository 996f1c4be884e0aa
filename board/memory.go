package board

// Region is a range of a core's memory.
type Region struct {
	Name  string
	Start uint64 // first address, as the core sees it
	Size  uint64 // bytes
	Kind  Kind
	// Linux is the address of the same memory as Linux sees it; 0 where it is not
	// known. Regions that share it are views of one memory, the first of them the
	// usual one.
	Linux uint64
}

// Kind is what a region is good for.
type Kind uint8

// The kinds. The zero value is memory that nothing else is known of.
const (
	RAM   Kind = iota
	Code       // on the core's instruction bus
	Boot       // Code, and the core finds its vector table at its start
	Data       // on the core's data bus
	Flash      // mapped flash, which the kernel does not load
	DDR        // the core's only where the node's memory-region lists it
)

// End is the first address behind the region.
func (r Region) End() uint64 { return r.Start + r.Size }

// Contains reports whether the size bytes at addr lie inside the region.
func (r Region) Contains(addr, size uint64) bool {
	return addr >= r.Start && size <= r.Size && addr-r.Start <= r.Size-size
}

func (k Kind) String() string {
	return [...]string{"ram", "code", "boot", "data", "flash", "ddr"}[k]
}
